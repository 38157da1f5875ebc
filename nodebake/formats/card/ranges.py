"""Parts of files that mean something, and how they are copied and hashed: what lies between stays a hole."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_PIECE = 1 << 20
_ZEROS = memoryview(bytes(_PIECE))
# Different file systems, or one that cannot do it.
_UNABLE = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Bytes `start` to `end` of a file, without the last."""

    start: int
    end: int


def joined(ranges: Iterable[Range], *, step: int = 1) -> tuple[Range, ...]:
    """Return `ranges` in order, on multiples of `step`, those that touch as one."""
    found: list[Range] = []
    for one in sorted((one for one in ranges if one.end > one.start), key=lambda one: one.start):
        start, end = one.start // step * step, -(-one.end // step) * step
        if found and start <= found[-1].end:
            found[-1] = Range(start=found[-1].start, end=max(found[-1].end, end))
        else:
            found.append(Range(start=start, end=end))
    return tuple(found)


def copy(source: int, target: int, ranges: Iterable[Range], *, at: int) -> None:
    """Copy `ranges` of one open file to another, moved by `at`; shared with the source where that works.

    Raises:
        OSError: as reading and writing do.
    """
    for one in ranges:
        done = one.start
        while done < one.end:
            done += _some(source, target, done, one.end - done, at)


def _some(source: int, target: int, start: int, left: int, at: int) -> int:
    try:
        moved = os.copy_file_range(source, target, left, start, start + at)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
        moved = os.pwrite(target, os.pread(source, min(left, _PIECE), start), start + at)
    if not moved:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return moved


def digest(path: Path) -> str:
    """Return the SHA-256 of a file with holes, hexadecimal; holes are not read."""
    sha256 = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        for piece in _pieces(file.fileno()):
            sha256.update(piece)
    return sha256.hexdigest()


def _pieces(descriptor: int) -> Iterator[memoryview]:
    """Yield what an open file has; a piece is good until the next one."""
    block, size, at = bytearray(_PIECE), os.fstat(descriptor).st_size, 0
    while at < size:
        data = _data(descriptor, at, size)
        while at < data:
            piece = _ZEROS[: data - at]
            at += len(piece)
            yield piece
        hole = os.lseek(descriptor, at, os.SEEK_HOLE) if at < size else at
        while at < hole:
            read = os.preadv(descriptor, [memoryview(block)[: hole - at]], at)
            at += read
            yield memoryview(block)[:read]


def _data(descriptor: int, at: int, size: int) -> int:
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:  # nothing but a hole is left
            raise
        return size
