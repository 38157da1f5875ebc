"""Where things lie on a card: partitions and the master boot record."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Sequence

SECTOR = 512
MIB = 1 << 20
START = 4 * MIB
"""Where the first partition begins: the size of the erase blocks of cards."""
FAT32_LBA, LINUX = 0x0C, 0x83
_CODE = 440  # bytes of boot code before the disk's id
_SLOTS = 4
_SECTORS = 1 << 32
# Cylinder, head and sector of what lies beyond their reach; the firmware and Linux use the block numbers.
_FAR = b"\xfe\xff\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition; sizes and places in bytes, multiples of `SECTOR`."""

    start: int
    size: int
    kind: int
    bootable: bool = False

    @property
    def end(self) -> int:
        """Return where the next may begin."""
        return self.start + self.size


def record(disk: int, partitions: Sequence[Partition], *, code: bytes = b"") -> bytes:
    """Return the master boot record, 512 bytes.

    Args:
        disk: the disk's signature.
        partitions: at most four.
        code: what a PC's BIOS starts; a Raspberry Pi has no use for it.

    Raises:
        BuildError: there is no room for one of them.
    """
    if (
        len(code) > _CODE
        or len(partitions) > _SLOTS
        or any(one.end > _SECTORS * SECTOR for one in partitions)
    ):
        raise BuildError("the partitions or the boot code do not fit a master boot record")
    entries = b"".join(map(_entry, partitions)).ljust(16 * _SLOTS, b"\0")
    return code.ljust(_CODE, b"\0") + struct.pack("<L2x", disk) + entries + b"\x55\xaa"


def _entry(partition: Partition) -> bytes:
    active = 0x80 if partition.bootable else 0
    place = partition.start // SECTOR, partition.size // SECTOR
    return struct.pack("<B3sB3sLL", active, _FAR, partition.kind, _FAR, *place)


def up(size: int, step: int) -> int:
    """Return `size` rounded up to a multiple of `step`."""
    return -(-size // step) * step
