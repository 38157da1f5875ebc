"""The partition a Raspberry Pi 3 boots from: found by the boot ROM's rules, read with mtools."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError
from nodebake.formats.card.layout import SECTOR

if TYPE_CHECKING:
    from pathlib import Path

_TABLE, _ENTRY, _SIGNATURE = 446, struct.Struct("<B3sB3sII"), b"\x55\xaa"
_PROTECTIVE = 0xEE
# 0x06 is what Alpine's own card images have; raspberrypi/firmware issues 1711 and 1628 for the others.
_TYPES = (0x06, 0x0B, 0x0C, 0x0E)
# A card may be one FAT file system without a table (raspberrypi/rpi-eeprom issue 120).
_LABELS = ((54, b"FAT1"), (82, b"FAT32"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BootFiles:
    """The files on a boot partition; names are FAT's: upper and lower case are the same.

    Attributes:
        image: the card.
        offset: where the partition begins, in bytes.
        names: every file's path, in lower case and without a leading slash.
    """

    image: Path
    offset: int
    names: frozenset[str]

    def __contains__(self, path: str) -> bool:
        return path.lstrip("/").lower() in self.names

    def read(self, path: str) -> bytes:
        """Return the content of the file `path`.

        Raises:
            BuildError: there is none.
        """
        return run([_mtools("mtype"), "-i", f"{self.image}@@{self.offset}", f"::/{path.lstrip('/')}"])


def boot_files(image: Path) -> BootFiles:
    """Return the files of the partition that the boot ROM of a Pi 3 would boot `image` from.

    Raises:
        InputError: mtools is not installed.
        BuildError: the ROM would not find a partition on it that it can read.
    """
    offset = _partition(image)
    source = f"{image}@@{offset}"
    try:
        run([_mtools("minfo"), "-i", source, "::"])
    except BuildError as error:
        said = str(error).splitlines()[-1].strip()
        raise BuildError(f"{image}: the first partition has no FAT file system: {said}") from error
    listed = run([_mtools("mdir"), "-b", "-/", "-a", "-i", source, "::/"], accept=(0, 1)).decode(
        errors="replace"
    )
    paths = (line.removeprefix("::").strip("/").lower() for line in listed.splitlines())
    return BootFiles(image=image, offset=offset, names=frozenset(paths))


def _partition(image: Path) -> int:
    """Return the offset of the partition to boot from, in bytes."""
    with image.open("rb") as card:
        sector = card.read(SECTOR)
    if sector[-2:] != _SIGNATURE or len(sector) < SECTOR:
        raise BuildError(f"{image}: there is no partition table: the first sector does not end in 55 aa")
    if any(sector[at : at + len(label)] == label for at, label in _LABELS):
        return 0
    kind: int
    start: int
    _, _, kind, _, start, sectors = _ENTRY.unpack_from(sector, _TABLE)
    if kind == _PROTECTIVE:
        raise BuildError(
            f"{image}: the partition table is a GPT, which the boot ROM of a Pi 3 does not read",
            hint="make it an MBR: sfdisk --label dos",
        )
    if kind not in _TYPES:
        raise BuildError(
            f"{image}: the first partition has type 0x{kind:02x}, which the boot ROM of a Pi 3 passes over",
            hint="make it 0x0c, and the first one in the table",
        )
    if image.stat().st_size < (start + sectors) * SECTOR or not start:
        raise BuildError(f"{image}: the first partition ends behind the card's end")
    return start * SECTOR


def _mtools(name: str) -> str:
    return find(name, package="mtools")
