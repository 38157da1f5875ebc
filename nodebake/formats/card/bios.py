"""What a PC's BIOS starts a disk with: syslinux, put into a FAT file system without root."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import InputError
from nodebake.formats.card import fat
from nodebake.formats.card.layout import SECTOR

if TYPE_CHECKING:
    from collections.abc import Sequence

DIRECTORY = "boot/syslinux"
"""Where syslinux looks for its configuration."""
_CODE = ("/usr/lib/SYSLINUX/mbr.bin", "/usr/lib/syslinux/mbr/mbr.bin", "/usr/lib/syslinux/bios/mbr.bin")
_PACKAGE = "syslinux"
_BACKUP = 6 * SECTOR


def install(image: Path, *, epoch: int) -> None:
    """Put syslinux into the FAT file system that is the file `image`.

    Raises:
        InputError: syslinux is not installed.
        BuildError: it could not be put there.
    """
    env = fat.environment(epoch)
    fat.directories(image, (str(PurePosixPath(DIRECTORY).parent), DIRECTORY), epoch=epoch)
    run([find("syslinux", package=_PACKAGE), "--install", "--directory", f"/{DIRECTORY}", image], env=env)
    with image.open("r+b", buffering=0) as file:
        # It leaves the boot sector's copy as it was; a checker would say so of every node's disk.
        os.pwrite(file.fileno(), os.pread(file.fileno(), SECTOR, 0), _BACKUP)


def code(paths: Sequence[str] = _CODE) -> bytes:
    """Return the code for the master boot record, which starts the active partition.

    Raises:
        InputError: syslinux is not installed.
    """
    for path in map(Path, paths):
        if path.exists():
            return path.read_bytes()
    raise InputError("syslinux's mbr.bin is not here", hint=f"run as root: apt-get install --yes {_PACKAGE}")
