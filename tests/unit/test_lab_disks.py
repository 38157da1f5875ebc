"""What the lab finds on a disk, against disks that sfdisk and mke2fs made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.lab import disks
from tests.need import need_root
from tests.unit.diskless import SECTOR, Card, card, filesystem

if TYPE_CHECKING:
    from pathlib import Path

BOOT, FIRST = "start=8192, size=16384, type=c\n", 24576
WHOLE = f"start={FIRST}, type=83\n"


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """Return what a member leaves in its data partition."""
    (tmp_path / "content/etcd/member/snap").mkdir(parents=True)
    (tmp_path / "content/etcd/member/snap/db").write_bytes(b"etcd")
    return tmp_path / "content"


def made(directory: Path, table: str, content: Path) -> Card:
    """Return a disk with that content on its second partition."""
    disk = card(directory / "disk.img", BOOT + table)
    filesystem(disk, 2, content=content)
    return disk


def test_data_that_lies_on_the_whole_rest_of_a_disk_is_found(tmp_path: Path, content: Path) -> None:
    """Partition, sizes and the file; the disk itself is left as it is."""
    disk = made(tmp_path, WHOLE, content)
    before = disk.path.read_bytes()
    found = disks.look(disk.path)
    size = disk.path.stat().st_size - FIRST * SECTOR
    assert (2, size, size, 0, True) == (found.number, found.size, found.used, found.left, found.whole)
    assert "db" in found.names("/etcd/member/snap")
    assert found.names("/nowhere") == frozenset()
    assert before == disk.path.read_bytes()


def test_partition_that_did_not_grow_is_told(tmp_path: Path, content: Path) -> None:
    """Room behind it, or a file system that is smaller than its partition."""
    short = disks.look(made(tmp_path, f"start={FIRST}, size=32768, type=83\n", content).path)
    assert (32768 * SECTOR, False) == (short.used, short.whole)
    disk = made(tmp_path, f"start={FIRST}, size=32768, type=83\n", content)
    run(["sfdisk", "--quiet", "--partno", "2", disk.path], stdin=b", +\n")
    grown = disks.look(disk.path)
    assert (32768 * SECTOR, 0, False) == (grown.used, grown.left, grown.whole)


def test_what_power_cut_off_is_in_the_journal(tmp_path: Path, content: Path) -> None:
    """A file that was written shortly before is found, although the tables do not know it yet."""
    need_root()
    disk = made(tmp_path, WHOLE, content)
    script = "mount $1p2 /mnt && echo etcd >/mnt/late && sync && cp --sparse=always $2 $3 && umount /mnt"
    with disk.inserted() as device:
        run(["unshare", "--mount", "sh", "-c", script, "use", device, disk.path, tmp_path / "cut"])
    assert "late" in disks.look(tmp_path / "cut").names("/")
