"""The other forms of an image: a qcow2, and a compressed one with the map of what of it must be written."""

from __future__ import annotations

from dataclasses import replace
from typing import IO, TYPE_CHECKING, Literal

from nodebake.command import find, run
from nodebake.formats.card import bmap, ext4, fat, likeness
from nodebake.formats.card.layout import MIB
from nodebake.formats.card.ranges import Range, digest
from nodebake.formats.packing import zstd_chunks
from nodebake.formats.writing import artifact, part, placed, streamed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nodebake.formats.card import Card
    from nodebake.formats.card.likeness import Shared
    from nodebake.manifest import Artifact

Form = Literal["qcow2", "zst"]
_AT_ONCE = 16 * MIB


def write(form: Form, image: Path, card: Card, epoch: int, shared: Shared) -> tuple[Artifact, ...]:
    """Write another form of an image beside it.

    Args:
        form: which one.
        image: the image, which is whole.
        card: what all disks share.
        epoch: seconds since 1970.
        shared: what of the image is not the node's own.

    Raises:
        InputError: a tool is not installed.
        BuildError: it could not be written.
        OSError: as reading and writing do.
    """
    return _FORMS[form](image, card, epoch, shared)


def _qcow2(image: Path, card: Card, epoch: int, shared: Shared) -> tuple[Artifact, ...]:
    """Write what QEMU likes best: it takes no more room than there is content, however it is copied."""
    del card
    path = image.with_suffix(".qcow2")
    with part(path) as new:
        new.touch(0o600)
        argv = [find("qemu-img", package="qemu-utils"), "convert", "-f", "raw", "-O", "qcow2"]
        run([*argv, image, new])
        with image.open("rb") as file:
            found = likeness.apart(likeness.located(new, _pieces(file, shared)))
        made = placed("qcow2", new, path, root=path.parent.parent, epoch=epoch, sha256=digest(new))
        return (replace(made, shared=found),)


def _pieces(file: IO[bytes], ranges: Shared) -> Iterator[bytes]:
    for start, end in ranges:
        for at in range(start, end, _AT_ONCE):
            file.seek(at)
            yield file.read(min(_AT_ONCE, end - at))


def _zst(image: Path, card: Card, epoch: int, shared: Shared) -> tuple[Artifact, ...]:
    """Write what is small to store and to send, and the map of what of it must be written."""
    del shared  # what is compressed as a whole has nothing in common with another's
    root, (boot, *rest) = image.parent.parent, [place for _, place in card.partitions]
    ranges = [Range(start=0, end=1), *_moved(fat.used(image, at=boot.start), boot.start)]
    for data in rest:
        ranges += _moved(ext4.used(image, at=data.start), data.start)
    with image.open("rb") as file:
        packed = streamed(
            "image-zst", image.with_name(f"{image.name}.zst"), zstd_chunks(file), root=root, epoch=epoch
        )
    mapped = image.with_name(f"{image.name}.bmap")
    return packed, artifact("bmap", mapped, bmap.text(image, ranges), root=root, epoch=epoch)


def _moved(ranges: tuple[Range, ...], by: int) -> list[Range]:
    return [Range(start=one.start + by, end=one.end + by) for one in ranges]


_FORMS = {"qcow2": _qcow2, "zst": _zst}
