"""The FAT32 partition that firmware reads: made by dosfstools, filled by mtools, no mount and no root."""

from __future__ import annotations

import os
import re
import struct
from array import array
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError
from nodebake.formats.card.layout import MIB, SECTOR, START
from nodebake.formats.card.ranges import Range, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SMALLEST = 136 * MIB
"""Bytes; with less there are not the 65525 clusters that make a FAT a FAT32."""
# Clusters as large as a FAT32 of that size can have them, in bytes, by the least size.
LARGEST_CLUSTER = 4096
_CLUSTERS = {2 * SMALLEST: LARGEST_CLUSTER, 0: 2048}
OLDEST = 315532800
"""Seconds since 1970: FAT knows no time before 1980."""
# Microsoft's "FAT32 File System Specification": places in the boot sector.
_SERIAL, _BACKUP = 67, 50
_FIRST = 2  # number of the first cluster
_MASK = 0x0FFFFFFF  # of an entry; the rest is reserved
_TAKEN = re.compile(b"\x01+")


def cluster(size: int) -> int:
    """Return the bytes that files on a FAT32 of `size` bytes come in."""
    return next(unit for least, unit in _CLUSTERS.items() if size >= least)


def make(path: Path, size: int, *, label: str) -> None:
    """Make a FAT32 file system in the new file `path`, at its own size.

    dosfstools sizes clusters from the file, not from a partition in it, so it never gets the whole disk.

    Raises:
        InputError: dosfstools is not installed.
        BuildError: it could not be made.
    """
    with path.open("xb") as file:
        file.truncate(size)
    sectors = str(cluster(size) // SECTOR)
    # --invariant: no clock; the serial number is set for each node.
    argv = [find("mkfs.vfat", package="dosfstools"), "--invariant", "-F", "32", "-s", sectors]
    run([*argv, "-h", str(START // SECTOR), "-n", label, path])


def fill(image: Path, files: Mapping[str, Path], *, epoch: int, at: int = 0) -> None:
    """Put files into a FAT file system; those that are there are replaced, directories are made.

    Modification times are the files' own.

    Args:
        image: the file that holds the file system.
        files: target path to the file to put there.
        epoch: seconds since 1970, for the times besides.
        at: where in `image` the file system begins.

    Raises:
        InputError: mtools is not installed.
        BuildError: a file did not fit, or could not be read.
    """
    place, env = f"{image}@@{at}", environment(epoch)
    folders: dict[str, list[str]] = {}
    for path in sorted(files):
        folders.setdefault(str(PurePosixPath(path).parent), []).append(path)
    new = sorted({str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."})
    if new:
        directories(image, new, epoch=epoch, at=at)
    if any(path.name != PurePosixPath(name).name for name, path in files.items()):
        raise BuildError("a file on a FAT partition keeps its name")
    for folder, paths in sorted(folders.items()):
        target = "::" if folder == "." else f"::{folder}"
        # One name after the other, in order: a directory's entries lie as they came. -m keeps times.
        argv = [find("mcopy", package="mtools"), "-m", "-o", "-i", place]
        run([*argv, *(files[path] for path in paths), target], env=env)


def directories(image: Path, paths: Iterable[str], *, epoch: int, at: int = 0) -> None:
    """Make directories in a FAT file system, parents first; those that are there stay.

    Raises:
        InputError: mtools is not installed.
    """
    argv = [
        find("mmd", package="mtools"),
        "-D",
        "s",
        "-i",
        f"{image}@@{at}",
        *(f"::{path}" for path in paths),
    ]
    # 1 is also its status when there was one to skip; what is missing then, a copy into it will tell.
    run(argv, env=environment(epoch), accept=(0, 1))


def used(image: Path, *, at: int = 0) -> tuple[Range, ...]:
    """Return what of a FAT file system means something: all but its free clusters.

    Zeros in the tables count: on a card that was used before, they must be written.

    Args:
        image: the file that holds the file system.
        at: where in it the file system begins; places are counted from there.
    """
    with image.open("rb") as file:
        file.seek(at)
        head = file.read(SECTOR)
        reserved, copies, length = struct.unpack_from("<HB19xL", head, 14)
        file.seek(at + reserved * SECTOR)
        table = array("I", file.read(length * SECTOR))
    data = (reserved + copies * length) * SECTOR
    unit = head[13] * SECTOR
    flags = bytes(1 if entry & _MASK else 0 for entry in table[_FIRST:])
    runs = [
        Range(start=data + run.start() * unit, end=data + run.end() * unit) for run in _TAKEN.finditer(flags)
    ]
    return joined((Range(start=0, end=data), *runs))


def identify(descriptor: int, serial: int, *, at: int) -> None:
    """Set the serial number in the boot sector and in its copy, of the file system that begins at `at`."""
    (copy,) = struct.unpack("<H", os.pread(descriptor, 2, at + _BACKUP))
    for sector in (0, copy):
        os.pwrite(descriptor, struct.pack("<L", serial), at + sector * SECTOR + _SERIAL)


def environment(epoch: int) -> dict[str, str]:
    """Return what makes mtools, and what calls it, give the same bytes whenever and wherever."""
    # FAT's times have no zone. HOME: the user's own mtools settings are none of ours.
    return {"SOURCE_DATE_EPOCH": str(max(epoch, OLDEST)), "TZ": "UTC", "HOME": "/", "MTOOLS_SKIP_CHECK": "1"}
