"""A card's whole image, `<node>.img`: partition table, the operating system's FAT partition, the data's ext4.

What all nodes share is copied; only the node's own files are put in. The file has holes where a partition
has nothing: what is not a hole must reach the card, zeros too.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.formats.card import ext4, fat
from nodebake.formats.card.layout import (
    FAT32_LBA,
    LINUX,
    MIB,
    START,
    Partition,
    record,
)
from nodebake.formats.card.ranges import Range, copy
from nodebake.formats.writing import failed, part
from nodebake.manifest import Artifact
from nodebake.plan import identity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.plan import NodePlan, Plan

__all__ = ["BOOT", "DATA", "Card", "boot_size", "write"]

BOOT, DATA = "PIBOOT", "DATA"
SMALL = 32 * MIB
"""Bytes of a data partition that is to grow on its card."""
_ROOM = 1.5  # times what is on the boot partition: a later overlay and a later kernel fit beside it
_STEP = 16 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the cards of one cluster have in common.

    Attributes:
        boot: a FAT file system with the operating system.
        ranges: what of it means something.
        data: bytes of the data partition, the last one.
    """

    boot: Path
    ranges: tuple[Range, ...]
    data: int = SMALL

    @property
    def partitions(self) -> tuple[Partition, Partition]:
        """The boot partition and the data partition."""
        boot = Partition(start=START, size=self.boot.stat().st_size, kind=FAT32_LBA, bootable=True)
        return boot, Partition(start=boot.end, size=self.data, kind=LINUX)


def boot_size(content: int) -> int:
    """Return how large a boot partition should be that gets `content` bytes."""
    return max(fat.SMALLEST, -(-int(content * _ROOM) // _STEP) * _STEP)


def write(
    plan: Plan, node: NodePlan, card: Card, files: Mapping[str, Path], *, out: Path, epoch: int
) -> Artifact:
    """Write the node's image.

    Args:
        plan: the cluster.
        node: whose card.
        card: what all cards share.
        files: the node's own, by their path on the boot partition.
        out: the node's directory; its parent is the build's root.
        epoch: seconds since 1970.

    Raises:
        InputError: a tool is not installed.
        BuildError: the image could not be written; one that was there before is unchanged.
    """
    path = out / f"{node.name}.img"
    try:
        with part(path) as image:
            _assemble(image, plan, node, card, files, epoch)
            sha256 = _digest(image)
            os.utime(image, (epoch, epoch))
            size = image.stat().st_size
            image.replace(path)
    except OSError as error:
        raise failed(path, error) from error
    return Artifact(kind="image", path=path.relative_to(out.parent).as_posix(), size=size, sha256=sha256)


def _assemble(
    image: Path, plan: Plan, node: NodePlan, card: Card, files: Mapping[str, Path], epoch: int
) -> None:
    who, (boot, data) = identity(plan.profile.cluster.name, node.name), card.partitions
    descriptor = os.open(image, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "r+b", buffering=0), card.boot.open("rb") as base:  # noqa: PTH123 - private from birth
        os.truncate(descriptor, data.end)
        copy(base.fileno(), descriptor, card.ranges, at=boot.start)
        fat.identify(descriptor, who.boot, at=boot.start)
        os.pwrite(descriptor, record(who.disk, (boot, data)), 0)
    fat.fill(image, files, epoch=epoch, at=boot.start)
    ext4.make(image, data, label=DATA, unique=who.data, epoch=epoch)


def _digest(image: Path) -> str:
    with image.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return hashlib.sha256(content).hexdigest()
