"""An emulated Raspberry Pi 3 B: what it needs beside its card, and what happens when it gets power."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nodebake.command import run
from nodebake.errors import BuildError
from nodebake.lab import firmware
from nodebake.lab.hardware import Drive, Hardware

if TYPE_CHECKING:
    from pathlib import Path

MEMORY = 1 << 30  # of every Pi 3 B; QEMU has no other
# What the lab adds to the card's command line: the rest of the messages, and an end after a panic.
APPEND = "loglevel=6 panic=-1"


def hardware(card: Path) -> Hardware:
    """Return a Pi with `card` in it, which is made as large as QEMU wants cards to be: a power of two.

    The image's own bytes stay as they are.
    """
    with card.open("r+b") as image:
        image.truncate(1 << (card.stat().st_size - 1).bit_length())
    return Hardware(kind="raspi3b", memory=MEMORY, append=APPEND, drives=(Drive(path=card, role="system"),))


def copy_card(image: Path, to: Path) -> Path:
    """Make `to` a card with what `image` has; its empty parts take no room."""
    run(["cp", "--sparse=always", image, to])
    return to


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
