"""A disk as Alpine machines boot from: a FAT partition with the release, and an ext4 partition for data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from nodebake.plan import Plan

_SECTOR, _MIB = 512, 1 << 20
_START = 4 * _MIB
_SMALLEST = 272 * _MIB  # with clusters of 4 KiB a smaller file system has too few of them to be FAT32
_ROOM, _STEP = 1.2, 16 * _MIB
_DATA = 1 << 30


def blank(release: Path, to: Path, *, room: int, label: str) -> Path:
    """Make the disk that all nodes' disks start as.

    Args:
        release: directory with what the FAT partition has.
        to: the disk to make.
        room: bytes that a node's own files take.
        label: of the data partition; empty for a disk without one.

    Raises:
        InputError: a tool is missing.
        BuildError: it could not be made.
    """
    content = sum(path.stat().st_size for path in release.rglob("*") if path.is_file()) + room
    size = max(_SMALLEST, -(-int(content * _ROOM) // _STEP) * _STEP)
    end = _START + size
    with to.open("wb") as disk:
        disk.truncate(end + (_DATA if label else 0) + _MIB)
    table = [f"start={_START // _SECTOR}, size={size // _SECTOR}, type=c, bootable"]
    table += [f"start={end // _SECTOR}, size={_DATA // _SECTOR}, type=83"] if label else []
    told = "\n".join(["label: dos", *table]).encode()
    run([find("sfdisk", package="fdisk"), "--quiet", "--no-reread", "--no-tell-kernel", to], stdin=told)
    # The number of blocks is said: dosfstools otherwise goes by the size of the whole file.
    place = ("-h", str(_START // _SECTOR), f"--offset={_START // _SECTOR}", to, str(size // 1024))
    run([find("mkfs.vfat", package="dosfstools"), "-F", "32", "-s", "8", "-n", "ALPINE", *place])
    if label:
        mke2fs = [find("mke2fs", package="e2fsprogs"), "-q", "-F", "-t", "ext4", "-L", label]
        run([*mke2fs, "-E", f"offset={end}", to, f"{_DATA // 1024}k"])
    _copy(sorted(release.iterdir()), to, "")
    return to


def for_node(blank_disk: Path, to: Path, files: Mapping[str, Path]) -> Path:
    """Make a node's disk.

    Args:
        blank_disk: what it starts as.
        to: the disk to make.
        files: the node's own, by their path on the FAT partition.
    """
    run(["cp", "--sparse=always", blank_disk, to])
    for folder in sorted({path.rpartition("/")[0] for path in files}):
        if folder:
            run([find("mmd", package="mtools"), "-D", "s", "-i", _fat(to), f"::{folder}"])
        _copy([file for path, file in files.items() if path.rpartition("/")[0] == folder], to, folder)
    return to


def take(disk: Path, path: str, to: Path) -> Path:
    """Copy a file from the FAT partition of `disk`.

    Raises:
        BuildError: there is none.
    """
    run([find("mcopy", package="mtools"), "-n", "-o", "-i", _fat(disk), f"::{path}", to])
    return to


def data_label(plan: Plan) -> str:
    """Return the label of the data partition; empty if the profile has none.

    Raises:
        InputError: the lab cannot make such a partition.
    """
    data = plan.profile.machine.data
    if data is None:
        return ""
    label = data.device.removeprefix("LABEL=")
    if data.filesystem != "ext4" or label == data.device:
        raise InputError("the lab makes data partitions with ext4 and found by LABEL= only")
    return label


def without_data(disk: Path) -> None:
    """Take the data partition out of the partition table."""
    run(
        [find("sfdisk", package="fdisk"), "--quiet", "--no-reread", "--no-tell-kernel", "--delete", disk, "2"]
    )


def _copy(files: Iterable[Path], disk: Path, folder: str) -> None:
    run([find("mcopy", package="mtools"), "-s", "-o", "-m", "-i", _fat(disk), *files, f"::{folder}"])


def _fat(disk: Path) -> str:
    return f"{disk}@@{_START}"
