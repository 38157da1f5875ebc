"""Promises of what a card writer refuses: every device that is not plainly a card to be written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.errors import SafetyError
from nodebake.flash.device import Device, every, look
from nodebake.flash.options import Permission
from nodebake.flash.owner import titled
from nodebake.flash.refusing import check
from nodebake.vault import Card
from tests.need import ROOT, need, need_root

if TYPE_CHECKING:
    from collections.abc import Iterator

GB = 10**9
NEEDED = 300 << 20


class Machine:
    """A machine's /sys and /proc, as lsblk reads them with --sysroot."""

    def __init__(self, root: Path) -> None:
        self.root, self._minor = root, 0
        for folder in ("sys/block", "sys/class/block", "sys/dev/block", "proc/self"):
            (root / folder).mkdir(parents=True)
        for name in ("mountinfo", "../swaps"):
            (root / "proc/self" / name).touch()

    def disk(self, name: str, size: int, **facts: str) -> Path:
        """Add a disk of `size` bytes; facts are files in its directory, with `__` for a slash."""
        return self._add(f"sys/devices/{name}", name, size, {"removable": "1"} | facts, "sys/block")

    def partition(self, disk: str, number: int, size: int) -> Path:
        """Add a partition to a disk."""
        name = f"{disk}{'p' if disk[-1].isdigit() else ''}{number}"
        facts = {"partition": str(number), "start": "8192"}
        return self._add(f"sys/devices/{disk}/{name}", name, size, facts)

    def stacked(self, name: str, on: str, uuid: str) -> None:
        """Add what LVM, RAID or encryption makes of a disk or partition."""
        path = self._add(
            f"sys/devices/virtual/{name}", name, GB, {"dm__uuid": uuid, "dm__name": name}, "sys/block"
        )
        below = next((self.root / "sys/class/block").glob(on)).resolve()
        (below / "holders" / name).symlink_to(path)
        (path / "slaves" / on).symlink_to(below)

    def mounted(self, name: str, place: str) -> None:
        """Have a file system mounted."""
        number = (self.root / "sys/class/block" / name / "dev").read_text().strip()
        with (self.root / "proc/self/mountinfo").open("a") as to:
            to.write(f"30 1 {number} / {place} rw - ext4 /dev/{name} rw\n")

    def swap(self, name: str) -> None:
        """Have it used as swap."""
        head = "Filename\tType\tSize\tUsed\tPriority\n"
        (self.root / "proc/swaps").write_text(f"{head}/dev/{name} partition 1 0 -2\n")

    def device(self, name: str) -> Device:
        """Return what is known of a device."""
        return next(one for one in every(self.root) if one.name == name)

    def _add(self, path: str, name: str, size: int, facts: dict[str, str], *links: str) -> Path:
        here, self._minor = self.root / path, self._minor + 1
        all_ = {
            "size": str(size // 512),
            "ro": "0",
            "dev": f"8:{self._minor}",
            "queue__logical_block_size": "512",
        }
        for fact, value in (all_ | facts).items():
            file = here / fact.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")
        for folder in ("holders", "slaves"):
            (here / folder).mkdir()
        for link in (
            *(f"{folder}/{name}" for folder in ("sys/class/block", *links)),
            f"sys/dev/block/8:{self._minor}",
        ):
            (self.root / link).symlink_to(here)
        return here


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine without disks."""
    need("lsblk", package="util-linux")
    return Machine(tmp_path)


def objections(device: Device, **allowed: object) -> list[str]:
    """Return what is said against writing to `device`."""
    try:
        check(device, needed=NEEDED, checkout=ROOT, written=(), allowed=Permission(**allowed))  # type: ignore[arg-type]  # as named
    except SafetyError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("sdb", {}),
        ("sdc", {"removable": "1", "device__model": "Ultra"}),
        (
            "mmcblk0",
            {"removable": "0", "device__type": "SD", "device__cid": "03534453", "device__name": "SC32G"},
        ),
    ],
)
def test_cards_are_cards(machine: Machine, name: str, facts: dict[str, str]) -> None:
    """A stick, a card in a USB reader and one in a built-in reader need no further word."""
    machine.disk(name, 32 * GB, **facts)
    assert objections(machine.device(name)) == []


@pytest.mark.parametrize(
    ("size", "facts", "told"),
    [
        (32 * GB, {"removable": "0"}, "is not removable, so it may be a disk of this machine"),
        (
            32 * GB,
            {"removable": "0", "device__type": "MMC"},
            "is not removable, so it may be a disk of this machine",
        ),
        (257 * GB, {}, "has 257 GB, more than cards have"),
        (100 << 20, {}, f"has {100 << 20} bytes, and the image has {NEEDED}; take a larger card"),
        (
            32 * GB,
            {"ro": "1"},
            "is write-protected; move the switch on the card's side, or take another card",
        ),
    ],
)
def test_what_is_no_card_is_refused(machine: Machine, size: int, facts: dict[str, str], told: str) -> None:
    """Each reason has its own message."""
    machine.disk("sdb", size, **facts)
    (said,) = objections(machine.device("sdb"))
    assert said.startswith(f"/dev/sdb: {told}")


def test_disk_can_be_named_by_its_serial_number(machine: Machine) -> None:
    """What looks like no card can be written to by who knows its serial number, and only with that."""
    machine.disk("sdb", 500 * GB, removable="0", device__serial="WD-1234")
    device = machine.device("sdb")
    said = objections(device)
    assert len(said) == 2
    assert all(line.endswith("add --i-know WD-1234") for line in said)
    assert objections(device, known="WD-1235") == said
    assert objections(device, known="WD-1234") == []


def test_disk_without_a_serial_number_has_a_name_all_the_same(machine: Machine) -> None:
    """Name and size stand for it, which another disk in its place is unlikely to have."""
    machine.disk("sdb", 32 * GB, removable="0")
    assert objections(machine.device("sdb"), known=f"sdb-{32 * GB}") == []


def test_partition_is_refused(machine: Machine) -> None:
    """The message names the disk."""
    machine.disk("mmcblk0", 32 * GB)
    machine.partition("mmcblk0", 2, 31 * GB)
    told = (
        "/dev/mmcblk0p2: is a partition, and an image is a whole disk; name the disk: --device /dev/mmcblk0"
    )
    assert objections(machine.device("mmcblk0p2")) == [told]


@pytest.mark.parametrize("allowed", [{}, {"known": f"sdb-{32 * GB}"}])
def test_what_is_mounted_is_refused(machine: Machine, allowed: dict[str, str]) -> None:
    """Each place is named; no word of the user's overrides that."""
    machine.disk("sdb", 32 * GB)
    for number, place in enumerate(("/media/boot", "/media/data"), 1):
        machine.partition("sdb", number, GB)
        machine.mounted(f"sdb{number}", place)
    expected = [
        f"/dev/sdb: is mounted on {place}; umount {place}" for place in ("/media/boot", "/media/data")
    ]
    assert expected == objections(machine.device("sdb"), **allowed)


def test_disk_of_this_machine_is_refused(machine: Machine) -> None:
    """The disk that holds the root is told as that."""
    machine.disk("sdb", 32 * GB)
    machine.partition("sdb", 1, GB)
    machine.mounted("sdb1", "/")
    assert objections(machine.device("sdb")) == [
        "/dev/sdb: holds the root of this machine; name another device"
    ]


@pytest.mark.parametrize(
    ("uuid", "kind"), [("LVM-abc", "lvm"), ("CRYPT-LUKS2-abc", "crypt"), ("mpath-abc", "mpath")]
)
def test_what_something_is_made_of_is_refused(machine: Machine, uuid: str, kind: str) -> None:
    """A part of LVM, an encrypted disk, a path of several: in use, mounted or not."""
    machine.disk("sdb", 32 * GB)
    machine.partition("sdb", 1, GB)
    machine.stacked("dm-0", "sdb1", uuid)
    (said,) = objections(machine.device("sdb"))
    assert said.startswith(f"/dev/sdb: is in use by /dev/mapper/dm-0 ({kind}); ")


def test_member_of_a_raid_is_refused(machine: Machine) -> None:
    """A RAID is not made with the device mapper, and found all the same."""
    machine.disk("sdb", 32 * GB)
    machine.stacked("md0", "sdb", "")
    (machine.root / "sys/class/block/md0/md").mkdir()
    (machine.root / "sys/class/block/md0/md/level").write_text("raid1\n")
    (said,) = objections(machine.device("sdb"))
    assert said.startswith("/dev/sdb: is in use by /dev/md0 (raid1); ")


def test_swap_is_refused(machine: Machine) -> None:
    """A partition that is swap is in use."""
    machine.disk("sdb", 32 * GB)
    machine.partition("sdb", 1, GB)
    machine.swap("sdb1")
    assert objections(machine.device("sdb")) == [
        "/dev/sdb: is used as swap; name another device, or swapoff it"
    ]


def test_what_a_loop_device_is_made_of_is_refused(machine: Machine) -> None:
    """A disk that is a loop device's file is in use, although nothing else shows it."""
    machine.disk("sdb", 32 * GB)
    machine.disk("loop3", GB, loop__backing_file="/dev/sdb")
    (said,) = objections(machine.device("sdb"))
    assert said.startswith("/dev/sdb: is in use by /dev/loop3 (loop); ")


def test_card_that_failed_before_is_refused(machine: Machine) -> None:
    """It is told by its own serial number; the serial number of a reader says nothing about a card."""
    facts = {"device__type": "SD", "device__cid": "03534453", "device__serial": "0x1234"}
    machine.disk("mmcblk0", 32 * GB, **facts)
    machine.disk("sdb", 32 * GB, device__serial="0x1234")
    bad = Card(serial="0x1234", own=True, model="", size=32 * GB, node="m1", image="", failed="it broke")
    good = replace(bad, failed="")

    def said(name: str, *written: Card, known: str = "") -> str:
        try:
            allowed = Permission(known=known)
            check(machine.device(name), needed=1, checkout=ROOT, written=written, allowed=allowed)
        except SafetyError as error:
            return str(error)
        return ""

    assert "this card failed before: it broke; take another card" in said("mmcblk0", bad)
    assert said("mmcblk0", bad, known="0x1234") == ""
    assert said("mmcblk0", bad, good) == ""
    assert said("sdb", bad) == ""


def test_another_card_of_the_same_size_is_told_apart(machine: Machine) -> None:
    """The kernel counts what is put in: neither a mount nor a second look makes it another card."""
    sysfs = machine.disk("sdb", 32 * GB, diskseq="7")
    before = machine.device("sdb")
    machine.mounted("sdb", "/media/sdb")
    assert before.card == machine.device("sdb").card
    (sysfs / "diskseq").write_text("8\n")
    assert before.card != machine.device("sdb").card


def test_the_user_recognises_the_device(machine: Machine) -> None:
    """Model, size and serial number stand in one line."""
    machine.disk("sdb", 32 * GB, device__model="Ultra", device__serial="4C53")
    assert titled(machine.device("sdb")) == "/dev/sdb: Ultra, 32.0 GB, disk, serial 4C53"


@pytest.mark.parametrize(
    ("path", "told"),
    [("/dev/null", "/dev/null is not a block device"), ("/dev/nothing", "/dev/nothing is not there")],
)
def test_what_is_no_device_is_refused(path: str, told: str) -> None:
    """A character device, a file, nothing at all."""
    with pytest.raises(SafetyError, match=f"^{told}"):
        look(Path(path), Path("/"))


def test_file_is_refused(tmp_path: Path) -> None:
    """An image is not written to a file by mistake, as dd would into /dev/sbd."""
    (tmp_path / "sbd").write_bytes(b"")
    with pytest.raises(SafetyError, match="is not a block device\n  name the card's device"):
        look(tmp_path / "sbd", Path("/"))


def test_disk_of_the_checkout_is_refused() -> None:
    """The disk this very machine runs from, and the one with the checkout, are recognised."""
    rooted = [one for one in every(Path("/")) if "/" in one.mounts and one.kind == "disk"]
    if not rooted:
        pytest.skip("the root of this machine is not on a disk")
    (disk,) = rooted
    said = objections(disk, known=disk.known_as)
    assert "holds the root of this machine" in said[0]
    assert objections(replace(disk, mounts=()), known=disk.known_as) == []


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Return a loop device and where it is mounted."""
    need_root()
    path, place = tmp_path / "disk", tmp_path / "place"
    place.mkdir()
    run(["truncate", "--size=400M", path])
    run(["mke2fs", "-q", path])
    device = run(["losetup", "--find", "--show", path]).decode().strip()
    run(["mount", device, place])
    yield device, place
    run(["umount", place])
    run(["losetup", "--detach", device])


def test_checkout_on_the_device_is_told(mounted: tuple[str, Path]) -> None:
    """A real mount is seen, and that the checkout lies on it."""
    device, place = mounted
    found = look(Path(device), Path("/"))
    allowed = Permission(known=found.known_as)
    with pytest.raises(SafetyError, match=f"is mounted on {place}; umount {place}"):
        check(found, needed=1, checkout=ROOT, written=(), allowed=allowed)
    with pytest.raises(SafetyError, match=f"holds the checkout {place}"):
        check(found, needed=1, checkout=place, written=(), allowed=allowed)


def test_link_to_a_device_is_followed(mounted: tuple[str, Path], tmp_path: Path) -> None:
    """Names such as /dev/disk/by-id/... lead to the device."""
    device, _ = mounted
    (tmp_path / "by-id").symlink_to(device)
    assert device == look(tmp_path / "by-id", Path("/")).path
