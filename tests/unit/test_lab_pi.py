"""An emulated Pi before QEMU starts: its card, and what the firmware hands over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodebake.errors import BuildError
from nodebake.lab import pi
from nodebake.lab.hardware import Drive, Hardware
from tests.cards import KERNEL, card, device_tree, released

if TYPE_CHECKING:
    from pathlib import Path


def machine(path: Path) -> Hardware:
    """Return a Pi with the card `path` in it."""
    return pi.hardware(Drive(path=path, role="system"))


def test_a_card_is_as_large_as_qemu_wants_it(tmp_path: Path) -> None:
    """A power of two, and no smaller than cards are sold; what is on it stays."""
    path = card(tmp_path / "card.img", released())
    before = path.read_bytes()
    machine(path)
    with path.open("rb") as image:
        assert (4 << 30, before) == (path.stat().st_size, image.read(len(before)))


def test_what_the_firmware_loads_is_what_qemu_starts(tmp_path: Path) -> None:
    """Kernel, initramfs and device tree lie beside the card; the lab's words stand behind the card's own."""
    on, log = pi.switched_on(machine(card(tmp_path / "card.img", released())))
    found = [path.read_bytes() for path in (on.kernel, on.initrd, on.dtb) if path]
    assert [KERNEL, b"initramfs", device_tree()] == found
    assert f"modules=loop,squashfs quiet console=tty1 console=ttyS1,115200 {pi.APPEND}" == on.append
    assert ("starts boot/vmlinuz-rpi, bcm2710-rpi-3-b.dtb, boot/initramfs-rpi",) == log


def test_a_card_without_an_initramfs_starts_without_one(tmp_path: Path) -> None:
    """QEMU is given none, then."""
    files = {**released(), "config.txt": b"kernel=boot/vmlinuz-rpi\narm_64bit=1\n"}
    on, _ = pi.switched_on(machine(card(tmp_path / "card.img", files)))
    assert on.initrd is None


def test_a_pi_without_a_card_does_not_start() -> None:
    """It has nothing to start from."""
    with pytest.raises(BuildError, match="without a card"):
        pi.switched_on(Hardware(kind="raspi3b", memory=pi.MEMORY, append=""))
