"""Disks of Alpine machines, read back by sfdisk, fsck.fat, mtools and blkid."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.lab import card
from tests.need import need

if TYPE_CHECKING:
    from pathlib import Path

_START = 4 << 20


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Return a directory that is laid out as a release is."""
    for tool, package in (
        ("sfdisk", "fdisk"),
        ("mkfs.vfat", "dosfstools"),
        ("mcopy", "mtools"),
        ("mke2fs", "e2fsprogs"),
        ("blkid", "util-linux"),
    ):
        need(tool, package=package)
    root = tmp_path / "release"
    (root / "boot").mkdir(parents=True)
    (root / "apks").mkdir()
    for name in (".alpine-release", "apks/.boot_repository", "boot/vmlinuz-virt", "cmdline.txt"):
        (root / name).write_text(name)
    return root


def partitions(disk: Path) -> list[dict[str, int | str]]:
    """Return the partition table, as sfdisk reads it."""
    table: list[dict[str, int | str]] = json.loads(run(["sfdisk", "--json", disk]))["partitiontable"][
        "partitions"
    ]
    return table


def test_a_disk_has_a_fat_that_firmware_reads_and_an_ext4_for_data(release: Path, tmp_path: Path) -> None:
    """The first is FAT32, bootable, of type 0x0c; the second has the label that the profile names."""
    disk = card.blank(release, tmp_path / "disk.img", room=1 << 20, label="DATA")
    first, second = partitions(disk)
    fat = tmp_path / "fat.img"
    run(["dd", f"if={disk}", f"of={fat}", "bs=1M", "skip=4", f"count={int(first['size']) // 2048}"])
    probed = ("blkid", "-p", "-O", str(int(second["start"]) * 512), "-o", "export", disk)
    told = run(probed).decode()
    assert (8192, "c", True, "83") == (first["start"], first["type"], first["bootable"], second["type"])
    assert b"32 bit entries" in run([need("fsck.fat", package="dosfstools"), "-nv", fat])
    assert ("LABEL=DATA" in told, "TYPE=ext4" in told) == (True, True)


def test_a_nodes_disk_has_the_release_and_its_own_files(release: Path, tmp_path: Path) -> None:
    """Hidden files are there; a node's file takes the place of the release's; a folder is made for it."""
    blank = card.blank(release, tmp_path / "blank.img", room=1 << 20, label="")
    own = tmp_path / "own"
    (own / "overlays").mkdir(parents=True)
    for name in ("n1.apkovl.tar.gz", "cmdline.txt", "overlays/x.dtbo"):
        (own / name).write_text("own")
    files = {name: own / name for name in ("n1.apkovl.tar.gz", "cmdline.txt", "overlays/x.dtbo")}
    disk = card.for_node(blank, tmp_path / "disk.img", files)
    listed = run(["mdir", "-b", "-a", "-/", "-i", f"{disk}@@{_START}", "::"]).decode().split()
    assert {
        *("::/.alpine-release", "::/apks/.boot_repository", "::/boot/vmlinuz-virt"),
        *("::/n1.apkovl.tar.gz", "::/cmdline.txt", "::/overlays/x.dtbo"),
    } <= set(listed)
    taken = [
        card.take(disk, name, tmp_path / "taken").read_text() for name in ("cmdline.txt", ".alpine-release")
    ]
    assert (["own", ".alpine-release"], 1) == (taken, len(partitions(disk)))


def test_the_data_partition_can_be_taken_away(release: Path, tmp_path: Path) -> None:
    """The other one stays where it is."""
    disk = card.blank(release, tmp_path / "disk.img", room=1 << 20, label="DATA")
    before = partitions(disk)
    card.without_data(disk)
    assert before[:1] == partitions(disk)
