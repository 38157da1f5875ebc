"""What of an image has to reach a card: everything but the free space of its file systems.

Holes in the file are not asked: a copy of an image can have them where zeros mean something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.flash.device import table
from nodebake.formats.card import ext4, fat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nodebake.flash.device import Content
    from nodebake.formats.card.ranges import Range

PIECE = 1 << 20
"""Bytes that are written at once."""


def pieces(image: Path) -> tuple[int, ...]:
    """Return where the pieces of `PIECE` bytes begin that have anything in them, in order.

    Raises:
        InputError: a tool is not installed.
        BuildError: a file system in the image cannot be read.
    """
    size = image.stat().st_size
    free: set[int] = set()
    for content in table(image)[1]:
        for start, end in _between(_used(image, content), content.size):
            free.update(range(-(-(content.start + start) // PIECE), (content.start + end) // PIECE))
    return tuple(piece * PIECE for piece in range(-(-size // PIECE)) if piece not in free)


def _used(image: Path, content: Content) -> Iterable[Range] | None:
    """Return what is used, from the beginning of the partition; None where that is not known here."""
    if content.kind == "vfat":
        return fat.used(image, at=content.start)
    if content.kind == "ext4":
        return ext4.used(image, at=content.start)
    return None


def _between(used: Iterable[Range] | None, size: int) -> Iterator[tuple[int, int]]:
    if used is None:
        return
    last = 0
    for one in used:
        yield last, one.start
        last = one.end
    yield last, size
