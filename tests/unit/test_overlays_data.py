"""Promises of the service that mounts the data partition, with Alpine's own busybox and real file systems."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.overlay import OVERLAYS
from tests.need import need
from tests.unit.diskless import SECTOR, Alpine, Card, alpine, card, filesystem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SERVICE = "nodebake-data"
# Of this run alone: the machine may have other file systems called DATA.
LABEL = f"D{os.getpid()}"
FIRST = 8192
LOOK = "cat /proc/mounts; ls /data; echo kept >/var/log/messages; ls /data/log"


@pytest.fixture
def node(tmp_path: Path) -> Alpine:
    """Return a diskless Alpine with the service and its configuration."""
    made = alpine(tmp_path)
    for folder in ("init.d", "conf.d"):
        (made.root / "etc" / folder).mkdir(exist_ok=True)
    script = OVERLAYS / "base/mount-openrc/etc/init.d" / SERVICE
    # Nothing here appears late, and most tests are about what never does.
    patient = script.read_text().replace("tries=10", "tries=1")
    (made.root / "etc/init.d" / SERVICE).write_text(patient)
    (made.root / "etc/conf.d" / SERVICE).write_text(
        f'data_device="LABEL={LABEL}"\ndata_mountpoint="/data"\ndata_filesystem="ext4"\n'
        'data_options="noatime,errors=remount-ro"\ndata_found="/run/nodebake-data"\ndata_logs="/var/log"\n'
    )
    config = OVERLAYS / "base/data/etc/e2fsck.conf"
    (made.root / "etc/e2fsck.conf").write_bytes(config.read_bytes())
    return made


@pytest.fixture
def disk(tmp_path: Path) -> Card:
    """Return a card with one labelled ext4 that has a file."""
    made = card(tmp_path / "card.img", f"start={FIRST}, type=83\n")
    content = tmp_path / "content"
    content.mkdir()
    (content / "member").write_bytes(b"etcd")
    filesystem(made, 1, "-L", LABEL, content=content)
    return made


def _start(node: Alpine, on: Card, then: str = "") -> str:
    with on.inserted():
        return node.start(SERVICE, then=then)


def _edit(of: Card, *requests: str) -> None:
    place = f"{of.path}?offset={FIRST * SECTOR}"
    for request in requests:
        run([need("debugfs", package="e2fsprogs"), "-w", "-R", request, place])


def test_partition_is_mounted_and_the_logs_are_on_it(node: Alpine, disk: Card) -> None:
    """The file system with the label is at its place, stops on errors, and keeps what is logged."""
    told = _start(node, disk, then=LOOK).splitlines()
    options = next(line.split()[3] for line in told if " /data ext4 " in line)
    assert {"rw", "noatime", "errors=remount-ro"} <= set(options.split(","))
    assert {"member", "messages"} <= set(told)
    assert _start(node, disk, then="cat /var/log/messages").splitlines()[-1] == "kept"


@pytest.mark.parametrize("moment", ["19700101000100", "20991231000000"])
def test_wrong_clock_does_not_stop_it(node: Alpine, disk: Card, moment: str) -> None:
    """A file system last mounted and checked in the future, as with a clock at 1970, is healthy."""
    _edit(disk, *(f"set_super_value {name} 20981231000000" for name in ("mtime", "wtime", "lastcheck")))
    told = node_at(node, disk, moment)
    assert any(" /data ext4 rw" in line for line in told.splitlines())
    assert "failed" not in told


def node_at(node: Alpine, disk: Card, moment: str) -> str:
    """Start the service with e2fsck's clock at `moment` (e2fsck/unix.c, E2FSCK_TIME)."""
    script = node.root / "etc/init.d" / SERVICE
    script.write_text(script.read_text() + f"export E2FSCK_TIME={moment}\n")
    return _start(node, disk, then="cat /proc/mounts")


def test_damage_that_can_be_repaired_is_repaired(node: Alpine, disk: Card) -> None:
    """What e2fsck -p mends is mended before the file system is used."""
    _edit(disk, "set_super_value free_blocks_count 7", "set_inode_field member links_count 3")
    _edit(disk, "set_super_value state 0")
    with pytest.raises(Exception, match="e2fsck"):
        disk.check(1)
    told = _start(node, disk, then=LOOK)
    assert any(" /data ext4 rw" in line for line in told.splitlines())
    disk.check(1)


def test_damage_that_somebody_must_decide_on_is_refused(node: Alpine, disk: Card) -> None:
    """Where e2fsck -p gives up, nothing is mounted, and the console says what to run."""
    _edit(disk, "clri <2>", "set_super_value state 0")
    told = _start(node, disk, then="cat /proc/mounts")
    assert "failed: /dev/loop" in told
    assert "has errors that only somebody can decide on; then start again: fsck.ext4 /dev/loop" in told
    assert " /data " not in told


def _other(made: Card, *maker: str) -> None:
    """Put another kind of file system in the place of the one that is there."""
    other = made.path.with_name("other")
    run(["truncate", "--size=64M", other])
    run([*maker, other])
    with made.path.open("r+b") as file:
        file.seek(FIRST * SECTOR)
        file.write(other.read_bytes())


def _vfat(made: Card) -> None:
    _other(made, need("mkfs.vfat", package="dosfstools"), "-n", LABEL)


def _swap(made: Card) -> None:
    _other(made, need("mkswap", package="util-linux"), "--quiet", "--label", LABEL)


@pytest.mark.parametrize(("make", "kind"), [(_vfat, "vfat"), (_swap, "swap")])
def test_file_system_of_another_kind_is_refused(
    node: Alpine, disk: Card, make: Callable[[Card], None], kind: str
) -> None:
    """What has the label and is no ext4 is somebody else's: named on the console, and left alone."""
    make(disk)
    before = disk.path.read_bytes()
    told = _start(node, disk, then="cat /proc/mounts")
    assert f"is left alone: it has to have ext4 on it, and has {kind}" in told
    assert " /data " not in told
    assert before == disk.path.read_bytes()


def test_same_script_mounts_another_file_system(node: Alpine, disk: Card) -> None:
    """As nodebake-data.wal it mounts what its own settings say, and leaves the logs alone."""
    (node.root / "etc/init.d/nodebake-data.wal").symlink_to(SERVICE)
    settings = (node.root / "etc/conf.d" / SERVICE).read_text()
    changed = settings.replace("/var/log", "").replace('"/data"', '"/wal"').replace("/run/nodebake-data", "")
    (node.root / "etc/conf.d/nodebake-data.wal").write_text(changed)
    with disk.inserted():
        told = node.start("nodebake-data.wal", then="cat /proc/mounts; ls /wal")
    assert " /wal ext4 rw" in told
    assert told.split()[-1] == "member"
    assert " /var/log " not in told


def test_missing_partition_is_told_with_what_there_is(node: Alpine, tmp_path: Path) -> None:
    """Without the label nothing is made and nothing mounted; the message lists the file systems there are."""
    made = card(tmp_path / "card.img", f"start={FIRST}, type=83\n")
    filesystem(made, 1, "-L", "elsewhere")
    told = _start(node, made, then="cat /proc/mounts")
    assert f"failed: LABEL={LABEL} is not there. What is there is left alone: " in told
    assert 'LABEL="elsewhere"' in told
    assert " /data " not in told


def test_unlabelled_partition_is_mounted_where_it_was_found(node: Alpine, disk: Card) -> None:
    """What nodebake-partition recognised by its place is mounted without a label."""
    _edit(disk, 'set_super_value volume_name ""')
    script = node.root / "etc/init.d" / SERVICE
    with disk.inserted() as device:
        script.write_text(script.read_text() + f"echo {device}p1 >/run/nodebake-data\n")
        assert " /data ext4 rw" in node.start(SERVICE, then="cat /proc/mounts")
