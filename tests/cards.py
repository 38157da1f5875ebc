"""Cards made in a test, by sfdisk and mtools: a partition table, a FAT file system, files."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from nodebake import command
from tests.need import need

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KERNEL = b"\0" * 56 + b"ARM\x64" + b"\0" * 4
"""What makes a file an arm64 kernel: the magic at byte 56."""

CONFIG = b"kernel=boot/vmlinuz-rpi\ninitramfs boot/initramfs-rpi\narm_64bit=1\ninclude usercfg.txt\n"
"""As Alpine's release has it."""

TABLE = "label: dos\n2048,{sectors},0x{kind}\n"
SECTORS = 69632  # 34 MiB, the smallest FAT32


@cache
def device_tree(source: str = "") -> bytes:
    """Return a device tree with UART aliases as a Pi 3's, and what `source` adds to it."""
    text = (
        '/dts-v1/; / { compatible = "raspberrypi,3-model-b"; aliases { serial0 = "/soc/serial@7e201000"; '
        f'serial1 = "/soc/serial@7e215040"; }}; {source} }};'
    )
    dtc = need("dtc", package="device-tree-compiler")
    return command.run([dtc, "-q", "-I", "dts", "-O", "dtb", "-"], stdin=text.encode())


def released() -> dict[str, bytes]:
    """Return the files of a card that starts: the firmware's, and what Alpine's release has."""
    return {
        **dict.fromkeys(("bootcode.bin", "start.elf", "fixup.dat"), b"firmware"),
        "config.txt": CONFIG,
        "cmdline.txt": b"modules=loop,squashfs quiet console=tty1\n",
        "boot/vmlinuz-rpi": KERNEL,
        "boot/initramfs-rpi": b"initramfs",
        "bcm2710-rpi-3-b.dtb": device_tree(),
    }


def card(
    path: Path, files: Mapping[str, bytes], *, kind: str = "0c", sectors: int = SECTORS, fat: bool = True
) -> Path:
    """Make `path` a card with `files` on its first partition, of type `kind`."""
    for tool, package in (("sfdisk", "fdisk"), ("mformat", "mtools"), ("mcopy", "mtools")):
        need(tool, package=package)
    with path.open("wb") as image:
        image.truncate((2048 + sectors) * 512)
    command.run(["sfdisk", "--quiet", path], stdin=TABLE.format(sectors=sectors, kind=kind).encode())
    if fat:
        command.run(["mformat", "-i", f"{path}@@1M", "-F", "-T", str(sectors), "-h", "255", "-s", "63", "::"])
        fill(path, files)
    return path


def fill(path: Path, files: Mapping[str, bytes], *, offset: str = "1M") -> None:
    """Copy `files` into the FAT file system at `offset`."""
    folder = path.with_suffix(".files")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    command.run(["mcopy", "-s", "-o", "-i", f"{path}@@{offset}", *sorted(folder.iterdir()), "::/"])
