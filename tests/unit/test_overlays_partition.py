"""Promises of the data partition's first start, with Alpine's own busybox and real block devices."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.overlay import OVERLAYS
from nodebake.plan import identity
from tests.unit.diskless import MIB, SECTOR, Alpine, Card, alpine, card, filesystem, imaged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Maker = Callable[[Path], Card]

SERVICE = "nodebake-partition"
# Of this run alone: the machine may have other file systems called DATA.
LABEL = f"P{os.getpid()}"
BOOT = "start=8192, size=16384, type=c, bootable\n"
GPT = "start=8192, size=16384, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
DATA = "start=24576, size=32768, type=83\n"
FIRST = 24576
SIZE = 128 * MIB // SECTOR
WHOLE = ("83", FIRST, SIZE - FIRST)
UNIQUE = identity("edge", "m1").data
_BUSY_TWICE = """
tries=0
blockdev() {
    if [ "$1" = --rereadpt ] && [ $((tries += 1)) -lt 3 ]; then return 1; fi
    command blockdev "$@"
}
"""


@pytest.fixture
def node(tmp_path: Path) -> Alpine:
    """Return a diskless Alpine with the service and its configuration."""
    made = alpine(tmp_path)
    for folder in ("init.d", "conf.d"):
        (made.root / "etc" / folder).mkdir(exist_ok=True)
    script = OVERLAYS / "base/partition-openrc/etc/init.d" / SERVICE
    (made.root / "etc/init.d" / SERVICE).write_bytes(script.read_bytes())
    settings = f'partition_label="{LABEL}"\npartition_uuid="{UNIQUE}"\n'
    (made.root / "etc/conf.d" / SERVICE).write_text(settings)
    return made


def _start(node: Alpine, on: Card, *, then: str = "") -> str:
    """Start the service once, as a boot from the card would."""
    with on.inserted() as device:
        return node.start(SERVICE, boot=f"{device}p1", then=then)


def _with_boot(made: Card, directory: Path) -> Card:
    """Put what the service knows Alpine's partition by onto the first one.

    Not a FAT: the kernel of the machine that runs the tests need not know that.
    """
    content = directory / "boot"
    (content / "apks").mkdir(parents=True, exist_ok=True)
    (content / "apks/.boot_repository").touch()
    filesystem(made, 1, content=content)
    return made


def _alpine_only(directory: Path) -> Card:
    """Return a card with Alpine's partition, and an older life's file system where the data will be."""
    made = _with_boot(card(directory / "card.img", BOOT + "start=24576, type=83\n"), directory)
    stale = directory / "stale"
    stale.mkdir()
    (stale / "file").write_bytes(b"of somebody")
    filesystem(made, 2, "-L", LABEL, content=stale)
    run(["sfdisk", "--quiet", "--delete", made.path, "2"])
    return made


def _imaged(directory: Path) -> Card:
    """Return a card as the node's image makes it, larger than the image."""
    made = _with_boot(card(directory / "card.img", BOOT + DATA), directory)
    imaged(made, 2, LABEL, UNIQUE, scratch=directory)
    return made


def _digest(of: Card, *, skip: bool = False) -> str:
    """Return the digest of a card; with `skip` of what lies before the data, without the table."""
    content = of.path.read_bytes()
    return hashlib.sha256(content[SECTOR : FIRST * SECTOR] if skip else content).hexdigest()


CARDS = pytest.mark.parametrize("make", [_alpine_only, _imaged])


@CARDS
def test_data_takes_the_rest_of_the_card(node: Alpine, tmp_path: Path, make: Maker) -> None:
    """Made in the free space or grown: up to the card's end, clean, with its label; the rest is untouched."""
    made = make(tmp_path)
    before = _digest(made, skip=True)
    told = _start(node, made, then="blkid")
    assert "failed" not in told
    assert WHOLE == made.partition(2)
    assert f"{LABEL}: 11/" in made.check(2)
    assert f'LABEL="{LABEL}" UUID="{UNIQUE}" TYPE="ext4"' in told
    assert before == _digest(made, skip=True)


@CARDS
def test_second_start_changes_nothing(node: Alpine, tmp_path: Path, make: Maker) -> None:
    """What was made once is never made again, empty or not."""
    made = make(tmp_path)
    _start(node, made)
    before = _digest(made)
    assert _start(node, made).strip() == ""
    assert before == _digest(made)


@CARDS
def test_any_step_may_be_the_last_before_a_power_cut(node: Alpine, tmp_path: Path, make: Maker) -> None:
    """Killed before each of its programs, and in the middle of each, the next start gets there."""
    fresh = make(tmp_path)
    run(["cp", "--sparse=always", fresh.path, tmp_path / "fresh"])
    steps = int(_start(node, fresh, then="cat /run/count").split()[-1])
    assert steps > 10
    for step in range(1, steps + 1):
        for delay in (0, 5_000):
            run(["cp", "--sparse=always", tmp_path / "fresh", fresh.path])
            node.cut(step, delay)
            _start(node, fresh)
            node.cut(0)
            _start(node, fresh)
            assert WHOLE == fresh.partition(2), f"cut at step {step}, {delay} microseconds into it"
            assert f"{LABEL}: 11/" in fresh.check(2)


def _with_file(made: Card, directory: Path) -> None:
    content = directory / "content"
    content.mkdir()
    (content / "member").write_bytes(b"etcd")
    filesystem(made, 2, "-L", LABEL, "-U", str(UNIQUE), content=content)


def _with_file_instead_of_lost_and_found(made: Card, directory: Path) -> None:
    del directory
    _, start, _ = made.partition(2)
    place = f"{made.path}?offset={start * SECTOR}"
    source = made.path.with_name("one")
    source.write_bytes(b"only file")
    for request in ("rmdir lost+found", f"write {source} one"):
        run(["/sbin/debugfs", "-w", "-R", request, place])


def _in_use(made: Card, directory: Path) -> None:
    """Leave a file system as a power cut does: its superblock does not know yet what was written."""
    copy = directory / "copy"
    script = "mount $1p2 /mnt && echo etcd >/mnt/member && sync && cp --sparse=always $2 $3 && umount /mnt"
    with made.inserted() as device:
        run(["unshare", "--mount", "sh", "-c", script, "use", device, made.path, copy])
    copy.replace(made.path)


def _of_another_node(made: Card, directory: Path) -> None:
    del directory
    filesystem(made, 2, "-L", LABEL)


def _of_another_kind(made: Card, directory: Path) -> None:
    del directory
    with made.path.open("r+b") as file:
        file.seek(FIRST * SECTOR)
        file.write(b"XFSB" + bytes(4096))


def _with_a_third(made: Card, directory: Path) -> None:
    del directory
    run(["sfdisk", "--quiet", "--append", made.path], stdin=b"start=65536, size=8192, type=83\n")


@pytest.mark.parametrize(
    "change",
    [
        _with_file,
        _with_file_instead_of_lost_and_found,
        _in_use,
        _of_another_node,
        _of_another_kind,
        _with_a_third,
    ],
)
def test_what_is_not_our_empty_file_system_is_left_alone(
    node: Alpine, tmp_path: Path, change: Callable[[Card, Path], None]
) -> None:
    """Data, another's file system, an unclean one, a third partition: not a byte of the card changes."""
    made = _imaged(tmp_path)
    change(made, tmp_path)
    before = _digest(made)
    _start(node, made)
    assert before == _digest(made)


@pytest.mark.parametrize("table", [f"label: gpt\n{GPT}", f"{BOOT}start=24576, type=5\n"])
def test_other_tables_are_left_alone(node: Alpine, tmp_path: Path, table: str) -> None:
    """A GPT and an extended partition are not what a card for a Pi has; nothing is written."""
    made = _with_boot(card(tmp_path / "card.img", table), tmp_path)
    before = _digest(made)
    _start(node, made)
    assert before == _digest(made)


def test_card_without_room_says_so(node: Alpine, tmp_path: Path) -> None:
    """A card whose first partition takes nearly all of it is left alone, with a warning on the console."""
    made = _with_boot(card(tmp_path / "card.img", BOOT, size=70 * MIB), tmp_path)
    before = _digest(made)
    assert "has no room for a data partition" in _start(node, made)
    assert before == _digest(made)


def test_unlabelled_file_system_is_taken_for_the_data(node: Alpine, tmp_path: Path) -> None:
    """An ext4 made by hand without a label is handed on to be mounted, and left as it is."""
    made = _with_boot(card(tmp_path / "card.img", BOOT + DATA), tmp_path)
    filesystem(made, 2)
    (node.root / "etc/conf.d" / SERVICE).write_text(f'partition_label="{LABEL}"\n')
    before = _digest(made)
    assert _start(node, made, then="cat /run/nodebake-data").strip().endswith("p2")
    assert before == _digest(made)


def test_no_second_partition_is_made(node: Alpine, tmp_path: Path) -> None:
    """Where another disk has the label, its file system is the data's, and this disk is left alone."""
    made = _with_boot(card(tmp_path / "card.img", BOOT), tmp_path)
    other = card(tmp_path / "other.img", "start=8192, type=83\n")
    filesystem(other, 1, "-L", LABEL)
    before = _digest(made)
    with other.inserted():
        _start(node, made)
    assert before == _digest(made)


def test_busy_disk_is_finished_at_the_next_start(node: Alpine, tmp_path: Path) -> None:
    """Where the kernel does not take the new table, the message says so and the next start makes the rest."""
    made = _alpine_only(tmp_path)
    script = node.root / "etc/init.d" / SERVICE
    script.write_text(script.read_text() + "umount() { return 1; }\n")
    assert "is in use: the new partition counts from the next start on" in _start(node, made)
    assert ("7f", *WHOLE[1:]) == made.partition(2)
    script.write_text(script.read_text().replace("umount() { return 1; }\n", ""))
    _start(node, made)
    assert WHOLE == made.partition(2)
    assert f"{LABEL}: 11/" in made.check(2)


def test_who_looks_at_a_partition_for_a_moment_is_waited_for(node: Alpine, tmp_path: Path) -> None:
    """A kernel that refuses the new table twice, as udev has a partition open, gets it all the same."""
    made = _imaged(tmp_path)
    script = node.root / "etc/init.d" / SERVICE
    script.write_text(f"{script.read_text()}{_BUSY_TWICE}")
    assert "in use" not in _start(node, made)
    assert WHOLE == made.partition(2)
