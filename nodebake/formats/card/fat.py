"""The FAT32 partition that firmware reads: made by dosfstools, filled by mtools, no mount and no root."""

from __future__ import annotations

import os
import struct
from array import array
from itertools import groupby
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError
from nodebake.formats.card.layout import MIB, SECTOR, START
from nodebake.formats.card.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Clusters of 4 KiB: smaller ones make a FAT32 of less, and every file slow to find.
CLUSTER = 4096
SMALLEST = 272 * MIB
"""Bytes; with less there are fewer than the 65525 clusters that make a FAT a FAT32."""
OLDEST = 315532800
"""Seconds since 1970: FAT knows no time before 1980."""
# Microsoft's "FAT32 File System Specification": places in the boot sector.
_SERIAL, _BACKUP = 67, 50
_FIRST = 2  # number of the first cluster
_MASK = 0x0FFFFFFF  # of an entry; the rest is reserved


def make(path: Path, size: int, *, label: str) -> None:
    """Make a FAT32 file system in the new file `path`, at its own size.

    dosfstools sizes clusters from the file, not from a partition in it, so it never gets the whole disk.

    Raises:
        InputError: dosfstools is not installed.
        BuildError: it could not be made.
    """
    with path.open("xb") as file:
        file.truncate(size)
    sectors = str(CLUSTER // SECTOR)
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
    place, env = f"{image}@@{at}", _environment(epoch)
    folders: dict[str, list[str]] = {}
    for path in sorted(files):
        folders.setdefault(str(PurePosixPath(path).parent), []).append(path)
    new = sorted({str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."})
    if new:
        # -D s: skip those that are there.
        run([find("mmd", package="mtools"), "-D", "s", "-i", place, *(f"::{name}" for name in new)], env=env)
    if any(path.name != PurePosixPath(name).name for name, path in files.items()):
        raise BuildError("a file on a FAT partition keeps its name")
    for folder, paths in sorted(folders.items()):
        target = "::" if folder == "." else f"::{folder}"
        # One name after the other, in order: a directory's entries lie as they came. -m keeps times.
        argv = [find("mcopy", package="mtools"), "-m", "-o", "-i", place]
        run([*argv, *(files[path] for path in paths), target], env=env)


def used(image: Path) -> tuple[Range, ...]:
    """Return what of a FAT file system means something: all but its free clusters.

    Zeros in the tables count: on a card that was used before, they must be written.
    """
    with image.open("rb") as file:
        head = file.read(SECTOR)
        reserved, copies, length = struct.unpack_from("<HB19xL", head, 14)
        file.seek(reserved * SECTOR)
        table = array("I", file.read(length * SECTOR))
    data = (reserved + copies * length) * SECTOR
    cluster = head[13] * SECTOR
    ranges = [Range(start=0, size=data)]
    numbers = (number for number in range(_FIRST, len(table)) if table[number] & _MASK)
    for _, run_ in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        block = [number for _, number in run_]
        ranges.append(Range(start=data + (block[0] - _FIRST) * cluster, size=len(block) * cluster))
    return tuple(ranges)


def identify(descriptor: int, serial: int, *, at: int) -> None:
    """Set the serial number in the boot sector and in its copy, of the file system that begins at `at`."""
    (copy,) = struct.unpack("<H", os.pread(descriptor, 2, at + _BACKUP))
    for sector in (0, copy):
        os.pwrite(descriptor, struct.pack("<L", serial), at + sector * SECTOR + _SERIAL)


def _environment(epoch: int) -> dict[str, str]:
    # FAT's times have no zone. HOME: the user's own mtools settings are none of ours.
    return {"SOURCE_DATE_EPOCH": str(max(epoch, OLDEST)), "TZ": "UTC", "HOME": "/", "MTOOLS_SKIP_CHECK": "1"}
