"""Promises of writing disks of the kernel's own make: a stick that is pulled, and others with bad sectors."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodebake.command import find, run
from nodebake.errors import NodebakeError
from nodebake.flash import Permission, Wanted
from nodebake.flash import run as flash
from nodebake.flash.mapping import pieces
from nodebake.flash.writing import CardError
from nodebake.vault import cards
from tests.need import need, need_root
from tests.unit.test_flash import SIZE, Watch, built, options, plan, reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.plan import Plan

__all__ = ["built", "plan"]  # fixtures
BAD = 8192 + 64  # sectors: in the tables of the boot partition
_DISKS = "bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*/block/*"


def _load(*options_: str) -> Path:
    """Load the driver, with one removable disk; skip the test where that cannot be."""
    need_root()
    try:
        modprobe = find("modprobe", package="kmod")
        run([modprobe, "sd_mod"])
        run([modprobe, "scsi_debug", "dev_size_mb=220", "removable=1", "delay=0", *options_])
    except NodebakeError as error:
        pytest.skip(f"scsi_debug does not load here: {error}")
    for _ in range(100):
        disks = list(Path("/sys").glob(_DISKS))
        if disks and Path(f"/dev/{disks[0].name}").is_block_device():
            return Path(f"/dev/{disks[0].name}")
        time.sleep(0.1)
    pytest.fail("the disk did not appear")


def _unload() -> None:
    for disk in Path("/sys").glob(_DISKS):
        (disk / "device/delete").write_text("1")
    run([find("rmmod", package="kmod"), "scsi_debug"])


@pytest.fixture
def stick() -> Iterator[Path]:
    """Return the device of a good stick."""
    yield _load()
    _unload()


@pytest.fixture
def broken() -> Iterator[Path]:
    """Return the device of a stick with ten bad sectors."""
    yield _load("opts=2", f"medium_error_start={BAD}", "medium_error_count=10")
    _unload()


@pytest.fixture
def worn(built: Path, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Return a card's device that takes nothing any more at one place, and where: in the image's middle."""
    need_root()
    dmsetup = need("dmsetup", package="dmsetup")
    name = f"worn-{os.getpid()}"
    written = pieces(built / "out/x-1/x-1.img")
    at, size = written[len(written) // 2] // 512, SIZE // 512
    with reader(tmp_path / "card") as below:
        table = f"0 {at} linear {below} 0\n{at} 8 error\n{at + 8} {size - at - 8} linear {below} {at + 8}\n"
        try:
            if not Path("/dev/mapper/control").is_char_device():
                run([find("modprobe", package="kmod"), "dm-mod"])
            run([dmsetup, "create", name], stdin=table.encode(), env={"DM_DISABLE_UDEV": "1"})
        except NodebakeError as error:
            pytest.skip(f"this kernel has no device mapper: {error}")
        # What flash would not take for a card is one in a reader again.
        with reader(Path("/dev/mapper") / name) as device:
            run(["losetup", "--direct-io=on", device])  # or only the end of all writing fails
            yield device, at * 512
        run([dmsetup, "remove", name], env={"DM_DISABLE_UDEV": "1"})


def test_removable_disk_needs_no_further_word(built: Path, plan: Plan, stick: Path) -> None:
    """It is written and read back without --i-know, and recorded."""
    flash(plan, Wanted(node="x-1", device=str(stick)), options(built, str(stick), allowed=Permission()))
    assert (cards(built / "vault")[-1].model, cards(built / "vault")[-1].failed) == ("scsi_debug", "")
    assert "PIBOOT" in run(["blkid", "--probe", "--offset", str(4 << 20), stick]).decode()


def test_stick_that_is_pulled_half_way_is_told(built: Path, plan: Plan, stick: Path) -> None:
    """The kernel takes the disk away while it is written: told as that, and not as a bad card."""
    before = cards(built / "vault")
    pull = Path(f"/sys/block/{stick.name}/device/delete")
    watch = Watch("writing", 5, lambda: pull.write_text("1"))
    told = options(built, str(stick), allowed=Permission(), progress=watch)
    with pytest.raises(CardError) as failed:
        flash(plan, Wanted(node="x-1", device=str(stick)), told)
    assert "is gone: the card was taken out, or its reader, after " in str(failed.value)
    assert before == cards(built / "vault")


def test_bad_sectors_are_found(built: Path, plan: Plan, broken: Path) -> None:
    """A disk that takes everything and cannot give it back is recorded as failed."""
    with pytest.raises(CardError, match="cannot be read at 4 MiB"):
        flash(plan, Wanted(node="x-1", device=str(broken)), options(built, str(broken), allowed=Permission()))
    assert cards(built / "vault")[-1].failed.startswith(f"{broken} cannot be read at 4 MiB")


def test_place_that_takes_nothing_any_more_is_told(
    built: Path, plan: Plan, worn: tuple[str, int], tmp_path: Path
) -> None:
    """A write error half-way: told with its place, recorded, and no machine starts from the card."""
    device, at = worn
    with pytest.raises(CardError, match=f"{device} cannot be written to at {at >> 20} MiB") as failed:
        flash(plan, Wanted(node="x-1", device=device), options(built, device))
    row = cards(built / "vault")[-1]
    assert (row.node, row.failed) == ("x-1", failed.value.what)
    assert (tmp_path / "card").read_bytes()[:512] == bytes(512)
