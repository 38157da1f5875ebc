"""Parts of files that mean something, and how they are copied and hashed: what lies between stays a hole."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PIECE = 1 << 20
"""Bytes that are read at once."""
ZEROS = bytes(PIECE)
_FICLONERANGE = 0x4020940D  # linux/fs.h
_BLOCK = 4096  # a file system shares whole blocks; clusters of a FAT may begin in the middle of one


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

    The source has whole blocks of 4096 bytes; of one that a range begins or ends in, all is copied.

    Raises:
        OSError: as reading and writing do.
    """
    block = memoryview(bytearray(PIECE))
    for one in joined(ranges, step=_BLOCK):
        done = one.end if _cloned(source, target, one, at) else one.start
        while done < one.end:
            # Measured: the kernel takes a third longer for copy_file_range.
            read = _read(source, block[: one.end - done], done)
            done += os.pwrite(target, block[:read], done + at)


def _read(descriptor: int, block: memoryview, at: int) -> int:
    """Read what is at `at`, and return how many bytes; a file that was cut short is an error."""
    read = os.preadv(descriptor, [block], at)
    if not read:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return read


def _cloned(source: int, target: int, one: Range, at: int) -> bool:
    """Share a range with its source where the file system can, and say whether that worked."""
    try:
        fcntl.ioctl(
            target,
            _FICLONERANGE,
            struct.pack("=qQQQ", source, one.start, one.end - one.start, one.start + at),
        )
    except OSError:  # the copy tells what is wrong, if it is more than that
        return False
    return True


def digest(path: Path) -> str:
    """Return the SHA-256 of a file with holes, hexadecimal; holes are not read."""
    sha256 = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        for piece in pieces(file.fileno()):
            sha256.update(piece.content)
    return sha256.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a file; good until the next one is asked for.

    Attributes:
        at: where it begins.
        size: how long it is.
        block: begins with it; `ZEROS` where there is a hole.
    """

    at: int
    size: int
    block: bytes | bytearray

    @property
    def content(self) -> memoryview:
        """What is there."""
        return memoryview(self.block)[: self.size]


def pieces(descriptor: int) -> Iterator[Piece]:
    """Yield all that an open file has, in pieces that no multiple of `PIECE` lies within."""
    block, size, at = bytearray(PIECE), os.fstat(descriptor).st_size, 0
    while at < size:
        data = _data(descriptor, at, size)
        hole = os.lseek(descriptor, data, os.SEEK_HOLE) if data < size else size
        while at < hole:
            left = min(PIECE - at % PIECE, (data if at < data else hole) - at)
            read = left if at < data else _read(descriptor, memoryview(block)[:left], at)
            yield Piece(at=at, size=read, block=ZEROS if at < data else block)
            at += read


def _data(descriptor: int, at: int, size: int) -> int:
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:  # nothing but a hole is left
            raise
        return size
