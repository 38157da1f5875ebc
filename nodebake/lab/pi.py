"""An emulated Raspberry Pi 3 B: what it needs beside its card, and what happens when it gets power."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nodebake.errors import BuildError
from nodebake.lab import firmware
from nodebake.lab.hardware import Hardware

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.lab.hardware import Drive

MEMORY = 1 << 30  # of every Pi 3 B; QEMU has no other
_CARD = 4 << 30  # the smallest that is sold; empty, it takes no room
# What the lab adds to the card's command line: an end after a panic, and nothing that only slows an emulated
# processor down. Without the level, a card that says `quiet` would not even name its kernel. QEMU's network
# card has the id of one that cdc_subset takes for its own: whether that or cdc_ether comes first is chance.
APPEND = "loglevel=6 panic=-1 mitigations=off norandmaps module_blacklist=cdc_subset"


def hardware(card: Drive, *others: Drive) -> Hardware:
    """Return a Pi with `card` in it, made as large as cards are, and as QEMU wants them: a power of two.

    What is on it stays as it is. The others are disks on USB.
    """
    with card.path.open("r+b") as image:
        image.truncate(max(_CARD, 1 << (card.path.stat().st_size - 1).bit_length()))
    return Hardware(kind="raspi3b", memory=MEMORY, append=APPEND, drives=(card, *others))


def switched_on(off: Hardware) -> tuple[Hardware, tuple[str, ...]]:
    """Let the firmware look at the card; return the machine with what it starts, and what it says.

    Kernel, initramfs and device tree go beside the card, which may have changed since the last start.

    Raises:
        InputError: a tool is not installed.
        BuildError: the firmware does not start from this card.
    """
    card = next((drive.path for drive in off.drives if drive.role == "system"), None)
    if card is None:
        raise BuildError("a Pi without a card does not start")
    loaded = firmware.load(card)
    on = replace(
        off,
        kernel=_beside(card, ".kernel", loaded.kernel),
        initrd=_beside(card, ".initramfs", loaded.initramfs) if loaded.initramfs else None,
        dtb=_beside(card, ".dtb", loaded.device_tree),
        append=f"{loaded.cmdline} console={loaded.console},115200 {off.append}",
    )
    return on, loaded.log


def _beside(card: Path, suffix: str, content: bytes) -> Path:
    path = card.with_suffix(suffix)
    path.write_bytes(content)
    return path
