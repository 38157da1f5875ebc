"""Which bytes of a disk nodes share: those of the base that were left alone, and those of shared files."""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import tarfile
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING

from nodebake.formats.card.ranges import PIECE, ZEROS, Piece, Range, joined, pieces
from nodebake.formats.packing import zstd_reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_CELL = PIECE
_BLOCK = 4096
_ZEROS = bytes(_BLOCK)
_LEAST = 1 << 16  # what is smaller is not worth looking for
# Runs that were too short before a content counts as scattered, or as not there.
_TRIES = 16


Shared = tuple[tuple[int, int], ...]


def cells(ranges: Iterable[Range]) -> Iterator[Range]:
    """Yield pieces that `ranges` lie in, each small enough that most are left alone."""
    for one in joined(ranges, step=_CELL):
        for start in range(one.start, one.end, _CELL):
            yield Range(start=start, end=start + _CELL)


def compared(image: IO[bytes], bases: Iterable[tuple[IO[bytes], int]]) -> tuple[str, frozenset[int]]:
    """Return a disk's SHA-256, hexadecimal, and which of its cells are the same as its bases', by number.

    What is read once serves both. Cells that are a hole in part do not count.

    Args:
        image: the disk.
        bases: what was copied to it, and where to, in whole cells.
    """
    sha256, same = hashlib.sha256(), set[int]()
    with ExitStack() as stack:
        views = [(_mapped(base, stack), at) for base, at in bases]
        for piece in pieces(image.fileno()):
            sha256.update(piece.content)
            if piece.size == _CELL and piece.block is not ZEROS and _is_as(piece, views):
                same.add(piece.at // _CELL)
    return sha256.hexdigest(), frozenset(same)


def _is_as(cell: Piece, views: Iterable[tuple[memoryview, int]]) -> bool:
    """Say whether a cell of the disk is one of a base."""
    for view, at in views:
        if at <= cell.at <= at + len(view) - _CELL:
            with view[cell.at - at : cell.at - at + _CELL] as data:
                return cell.block.startswith(data)
    return False


def _mapped(file: IO[bytes], stack: ExitStack) -> memoryview:
    """Return what is in a file; what startswith is given of it is not copied, unlike slices of the map."""
    mapped = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return stack.enter_context(memoryview(mapped))


def unchanged(
    image: IO[bytes],
    base: IO[bytes],
    ranges: Iterable[Range],
    *,
    at: int,
    same: frozenset[int] = frozenset(),
) -> Iterator[Range]:
    """Yield where `image` has what `base` has.

    Args:
        image: the disk.
        base: what was copied to it.
        ranges: of the base, as far as it has them; one is the same as a whole or not at all.
        at: where in the image it went.
        same: what `compared` knows already.
    """
    with ExitStack() as stack:
        view, block = _mapped(base, stack), bytearray(_CELL)
        for one in ranges:
            end = min(one.end, len(view))
            known = same.issuperset(range((at + one.start) // _CELL, -(-(at + end) // _CELL)))
            for start in () if known else range(one.start, end, _CELL):
                with view[start : min(start + _CELL, end)] as data:
                    read = os.preadv(image.fileno(), [block], at + start)
                    if read < len(data) or not block.startswith(data):
                        break
            else:
                if one.start < end:
                    yield Range(start=at + one.start, end=at + end)


def members(archive: Path, start: int, end: int) -> Iterator[bytes]:
    """Yield the contents of the large files in a piece of an archive packed with zstd."""
    with archive.open("rb") as file:
        file.seek(start)
        piece = io.BytesIO(file.read(end - start))
    with tarfile.open(fileobj=zstd_reader(piece), mode="r|") as tar:
        for info in tar:
            content = tar.extractfile(info) if info.isreg() and info.size >= _LEAST else None
            if content:
                yield content.read()


def located(disk: Path, contents: Iterable[bytes], *, hint: int = 0) -> Iterator[Range]:
    """Yield where `disk` has the contents, as far as it has them in large runs; from `hint` on first."""
    with disk.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for content in contents:
            for found in _runs(mapped, content, hint):
                hint = found.end
                yield found


def apart(ranges: Iterable[Range]) -> Shared:
    """Return ranges as an artefact has them: in order, none within another."""
    found: list[tuple[int, int]] = []
    for one in sorted(ranges, key=lambda one: one.start):
        if not found or one.start >= found[-1][1]:
            found.append((one.start, one.end))
    return tuple(found)


def _runs(mapped: mmap.mmap, content: bytes, hint: int) -> Iterator[Range]:
    at, tries = 0, _TRIES
    while at + _LEAST <= len(content) and tries:
        block = content[at : at + _BLOCK]
        if block == _ZEROS:  # they are everywhere
            at += _BLOCK
            continue
        start = mapped.find(block, hint)
        start = mapped.find(block) if start < 0 else start
        if start < 0:
            return
        size = _same(mapped, start, content, at)
        hint = start + size
        if size >= _LEAST:
            yield Range(start=start, end=hint)
        else:
            tries -= 1
        at += max(size // _BLOCK, 1) * _BLOCK


def _same(mapped: mmap.mmap, start: int, content: bytes, at: int) -> int:
    """Return how many bytes are the same from there on."""
    size, step = 0, _CELL
    while step >= _BLOCK:
        left = content[at + size : at + size + step]
        if left and mapped[start + size : start + size + len(left)] == left:
            size += len(left)
        else:
            step = 0 if not left else step // 16
    return size
