"""Parts of files that mean something, and how they are copied: what lies between stays a hole."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PIECE = 1 << 20
# Different file systems, or one that cannot do it.
_UNABLE = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Bytes `start` to `start + size` of a file."""

    start: int
    size: int


def copy(source: int, target: int, ranges: Iterable[Range], *, at: int) -> None:
    """Copy `ranges` of one open file to another, moved by `at`; shared with the source where that works.

    Raises:
        OSError: as reading and writing do.
    """
    for one in ranges:
        done = 0
        while done < one.size:
            done += _some(source, target, one.start + done, one.size - done, at)


def _some(source: int, target: int, start: int, left: int, at: int) -> int:
    try:
        moved = os.copy_file_range(source, target, left, start, start + at)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
        moved = os.pwrite(target, os.pread(source, min(left, _PIECE), start), start + at)
    if not moved:
        raise OSError(errno.EIO, "ends too early")
    return moved
