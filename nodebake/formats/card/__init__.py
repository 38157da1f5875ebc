"""A whole disk, `<node>.img`: partition table, the operating system's FAT and ext4, an empty ext4 for data.

What all nodes share is copied; only the node's own files are put in. The file has holes where a partition
has nothing: what is not a hole must reach the card, zeros too.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from nodebake.command import find
from nodebake.formats.card import ext4, fat, forms, laying, likeness
from nodebake.formats.card.forms import Form
from nodebake.formats.card.layout import FAT32_LBA, LINUX, MIB, START, Partition, record, up
from nodebake.formats.card.ranges import Range, copy, joined
from nodebake.formats.writing import failed, part, placed
from nodebake.plan import identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nodebake.formats.card.likeness import Shared
    from nodebake.manifest import Artifact
    from nodebake.plan import Identity, NodePlan, Plan

__all__ = [
    "BOOT",
    "KINDS",
    "Card",
    "Form",
    "Made",
    "Own",
    "boot_size",
    "empty",
    "furnished",
    "ready",
    "write",
]

KINDS = ("image", "qcow2", "image-zst", "bmap", "image-sbom")
"""Of the artefacts that come and go with an image: it, its other forms, its bill of materials."""
BOOT = "PIBOOT"
_TOOLS = {"mkfs.vfat": "dosfstools", "mcopy": "mtools", "mke2fs": "e2fsprogs"}
_PC_TOOLS = {"qemu-img": "qemu-utils", "syslinux": "syslinux"}
_STEP = 4 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A file system that disks get a copy of, made once.

    Attributes:
        image: the file that it is.
        ranges: what of it means something.
        pieces: what disks that it is copied to are likely to keep, none within another; empty for all of it.
        names: what is in it, by path; only asked of an ext4.
    """

    image: Path
    ranges: tuple[Range, ...]
    pieces: tuple[Range, ...] = ()
    names: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """Bytes, holes and all."""
        return self.image.stat().st_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the disks of one cluster have in common.

    Attributes:
        boot: the FAT file system that firmware reads.
        root: the ext4 file system that the system runs from; None where it runs from memory.
        data: the empty ext4 file system for data; None where it is on another disk.
        code: what a PC's BIOS starts; empty for a Raspberry Pi.
        forms: in which forms the image is written besides.
    """

    boot: Made
    root: Made | None = None
    data: Made | None = None
    code: bytes = b""
    forms: tuple[Form, ...] = ()

    @property
    def partitions(self) -> tuple[tuple[Made, Partition], ...]:
        """The boot partition, the root's and the data's as far as there are any, and where they lie."""
        first = Partition(start=START, size=self.boot.size, kind=FAT32_LBA, bootable=True)
        found = [(self.boot, first)]
        for made in filter(None, (self.root, self.data)):
            start = up(found[-1][1].end, _STEP)
            found.append((made, Partition(start=start, size=up(made.size, _STEP), kind=LINUX)))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What is one node's own.

    Attributes:
        boot: files by their path on the boot partition.
        root: an archive of what is laid over the root, `<node>.rootfs.tar.zst`.
        shared: pieces of these files that are not the node's own: the file, the first byte and the one after
            the last.
    """

    boot: Mapping[str, Path]
    root: Path | None = None
    shared: tuple[tuple[Path, int, int], ...] = ()

    def contents(self) -> Iterator[bytes]:
        """Yield what of the files is not the node's own, as it stands on the disk."""
        for path, start, end in self.shared:
            if path == self.root:
                yield from likeness.members(path, start, end)
            else:
                with path.open("rb") as file:
                    file.seek(start)
                    yield file.read(end - start)


def ready(*, pc: bool) -> None:
    """See that every tool is there that an image is made with.

    Args:
        pc: whether a BIOS is to start it, in a virtual machine.

    Raises:
        InputError: one is not installed.
    """
    for tool, package in {**_TOOLS, **(_PC_TOOLS if pc else {})}.items():
        find(tool, package=package)


def boot_size(release: int, own: int) -> int:
    """Return how large a boot partition should be, in bytes.

    Args:
        release: what the operating system takes.
        own: what a node's own files take; they fit twice, so that new ones can be put beside the old.
    """
    return max(fat.SMALLEST, up(release + 2 * own, _STEP))


def empty(image: Path, size: int, *, label: str, epoch: int) -> Made:
    """Return a data partition of at least `size` bytes with nothing in it, as the new file `image`.

    Raises:
        InputError: a tool is not installed.
        BuildError: it could not be made.
    """
    ext4.make(image, up(size, _STEP), label=label, epoch=epoch)
    return Made(image=image, ranges=ext4.used(image))


def furnished(card: Card, files: Mapping[str, Path], *, image: Path, epoch: int) -> Card:
    """Return `card` with files on the boot partition that several nodes have, put there once for all.

    Args:
        card: what disks share.
        files: by their path on the boot partition.
        image: where that partition is made.
        epoch: seconds since 1970.

    Raises:
        InputError: a tool is not installed.
        BuildError: a file could not be put there.
        OSError: as writing does.
    """
    made = card.boot
    with _private(image, made.size) as new, made.image.open("rb") as base:
        copy(base.fileno(), new.fileno(), made.ranges, at=0)
    fat.fill(image, files, epoch=epoch)
    contents = (path.read_bytes() for _, path in sorted(files.items()))
    with image.open("rb") as new, made.image.open("rb") as base:
        kept = tuple(likeness.unchanged(new, base, likeness.cells(made.ranges), at=0))
    found = likeness.located(image, contents, hint=made.ranges[-1].end)
    pieces = tuple(Range(start=start, end=end) for start, end in likeness.apart((*kept, *found)))
    return replace(card, boot=Made(image=image, ranges=fat.used(image), pieces=pieces))


def write(plan: Plan, node: NodePlan, card: Card, own: Own, *, out: Path, epoch: int) -> tuple[Artifact, ...]:
    """Write the node's image, and its other forms.

    Args:
        plan: the cluster.
        node: whose disk.
        card: what all disks share.
        own: what is put in.
        out: the node's directory; its parent is the build's root.
        epoch: seconds since 1970.

    Raises:
        InputError: a tool is not installed.
        BuildError: the image could not be written; one that was there before is unchanged.
    """
    path, who = out / f"{node.name}.img", identity(plan.profile.cluster.name, node.name)
    try:
        with part(path) as new:
            _copy(new, card, who)
            _fill(new, card, own, epoch)
            sha256, shared = _read(new, card, own)
            image = placed("image", new, path, root=out.parent, epoch=epoch, sha256=sha256)
        image = replace(image, shared=shared)
        others = [made for form in card.forms for made in forms.write(form, path, card, epoch, shared)]
    except OSError as error:
        raise failed(path, error) from error
    return image, *others


def _copy(image: Path, card: Card, who: Identity) -> None:
    """Write what is shared, the ids, and the partition table."""
    places = [place for _, place in card.partitions]
    with _private(image, places[-1].end) as new:
        for made, place in card.partitions:
            with made.image.open("rb") as source:
                copy(source.fileno(), new.fileno(), made.ranges, at=place.start)
            if made is card.boot:
                fat.identify(new.fileno(), who.boot, at=place.start)
            else:
                unique = who.root if made is card.root else who.data
                ext4.identify(new.fileno(), unique, at=place.start)
        os.pwrite(new.fileno(), record(who.disk, places, code=card.code), 0)


def _private(path: Path, size: int) -> IO[bytes]:
    """Return a new file, open, of `size` bytes that are a hole."""
    path.touch(0o600, exist_ok=False)
    os.truncate(path, size)
    return path.open("r+b", buffering=0)


def _fill(image: Path, card: Card, own: Own, epoch: int) -> None:
    """Write what is the node's own."""
    for made, place in card.partitions:
        if made is card.boot:
            fat.fill(image, own.boot, epoch=epoch, at=place.start)
        elif made is card.root and own.root:
            laying.lay(image, place, own.root, names=made.names, epoch=epoch)


def _read(image: Path, card: Card, own: Own) -> tuple[str, Shared]:
    """Return the image's digest, and where it has nothing of the node's own."""
    found: list[Range] = []
    free = 0
    with ExitStack() as stack:
        disk = stack.enter_context(image.open("rb"))
        bases = [stack.enter_context(made.image.open("rb")) for made, _ in card.partitions]
        places = [place.start for _, place in card.partitions]
        sha256, same = likeness.compared(disk, zip(bases, places, strict=True))
        for (made, place), base in zip(card.partitions, bases, strict=True):
            ranges = made.pieces or likeness.cells(made.ranges)
            found += joined(likeness.unchanged(disk, base, ranges, at=place.start, same=same))
            if made is not card.data:
                free = place.start + made.ranges[-1].end  # own files are likely to lie behind the shared ones
    return sha256, likeness.apart((*found, *likeness.located(image, own.contents(), hint=free)))
