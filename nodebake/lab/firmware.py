"""Plays the firmware of a Raspberry Pi 3 B, which QEMU does not run: from a card to a kernel that can start.

Source: https://www.raspberrypi.com/documentation/computers/config_txt.html; issues by number alone are those
of raspberrypi/firmware.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.errors import BuildError
from nodebake.lab import devicetree
from nodebake.lab.bootfs import BootFiles, boot_files
from nodebake.lab.configtxt import CONFIG, Settings, settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_GZIP, _ARM64, _ARM64_AT = b"\x1f\x8b", b"ARM\x64", 56  # Documentation/arch/arm64/booting.rst of the kernel
_LEAST_GPU_MEM, _USUAL_GPU_MEM = 32, 76  # below the first, start_cd.elf is taken: issue 984
_TREE, _UPSTREAM_TREE = "bcm2710-rpi-3-b.dtb", "bcm2837-rpi-3-b.dtb"
# Without a cmdline.txt, or with an empty one: issues 948 and 1551.
_OWN_CMDLINE = (
    "dwc_otg.lpm_enable=0 console=ttyAMA0,115200 console=tty1 root=/dev/mmcblk0p2 rootfstype=ext4 rootwait"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the firmware starts.

    Attributes:
        kernel: an uncompressed arm64 image.
        initramfs: may be empty: the card asks for none.
        device_tree: without overlays: the emulator lacks the hardware that they are for.
        cmdline: the device tree's own words, and those of `cmdline.txt`.
        console: the kernel's name for the UART on the pin header.
        log: what the firmware found, and what on the card has no effect.
    """

    kernel: bytes
    initramfs: bytes
    device_tree: bytes
    cmdline: str
    console: str
    log: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """The files of the operating system on the card."""

    prefix: str
    kernel: str
    tree: str
    ramdisks: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return (self.kernel, self.tree, *self.ramdisks)


def load(card: Path) -> Loaded:
    """Return what a Pi 3 B starts from `card`.

    Raises:
        InputError: mtools or the device tree compiler is not installed.
        BuildError: the Pi does not start, or not what the card is meant to start.
    """
    files = boot_files(card)
    told = settings(lambda name: files.read(name).decode(errors="replace") if name in files else None)
    _require(files, _own_files(told), f"the firmware is not complete; it lies beside {CONFIG}")
    names = _names(files, told)
    _require(files, names.all, f"{CONFIG} asks for it, or leaves it to the default")
    if not _is_64_bit(files, told):
        raise _refusal(files, f"{names.kernel} starts in 32-bit mode", hint=f"set arm_64bit=1 in {CONFIG}")
    tree = files.read(names.tree)
    devicetree.check(tree, f"{card}: {names.tree}")
    console = devicetree.header_uart(tree)
    cmdline, remarks = _cmdline(files, told, names.prefix)
    return Loaded(
        kernel=_arm64(files, names.kernel),
        initramfs=b"".join(files.read(name) for name in names.ramdisks),
        device_tree=tree,
        cmdline=_words(devicetree.text(tree, "/chosen", "bootargs"), cmdline, console),
        console=console,
        log=(f"starts {', '.join(names.all)}", *told.notes, *remarks, *_overlays(files, told, names.prefix)),
    )


def _own_files(told: Settings) -> tuple[str, ...]:
    """Return the files of the firmware itself."""
    variant = "_x" if told.on("start_x") else "_db" if told.on("start_debug") else ""
    if told.number("gpu_mem_1024", told.number("gpu_mem", _USUAL_GPU_MEM)) < _LEAST_GPU_MEM:
        variant = "_cd"
    start = told.values.get("start_file", f"start{variant}.elf")
    return ("bootcode.bin", start, told.values.get("fixup_file", f"fixup{variant}.dat"))


def _names(files: BootFiles, told: Settings) -> _Names:
    """Return what the firmware looks for; `os_prefix` counts only if kernel and device tree are there."""
    upstream = told.on("upstream_kernel")
    kernel = told.values.get("kernel") or ("kernel8.img" if _is_64_bit(files, told) else "kernel7.img")
    wanted = told.values.get("os_prefix", "upstream/" if upstream else "")
    for prefix in dict.fromkeys((wanted, "")):
        usual = _UPSTREAM_TREE if upstream and prefix + _UPSTREAM_TREE in files else _TREE
        tree = told.values.get("device_tree", usual)
        if not tree:
            raise _refusal(files, "device_tree= is empty, and an arm64 kernel does not start without a tree")
        names = _Names(
            prefix=prefix,
            kernel=_placed(prefix, kernel),
            tree=_placed(prefix, tree),
            ramdisks=tuple(
                _placed(prefix, name) for name in told.values.get("initramfs", "").split(",") if name
            ),
        )
        if names.kernel in files and names.tree in files:
            break
    return names


def _placed(prefix: str, name: str) -> str:
    """Return where a file of the operating system is; a leading slash leaves the prefix out."""
    return name.lstrip("/") if name.startswith("/") else prefix + name


def _is_64_bit(files: BootFiles, told: Settings) -> bool:
    """Say which mode the processor starts in (raspberrypi/documentation pull request 1858)."""
    if "arm_64bit" in told.values:
        return told.on("arm_64bit")
    kernel = told.values.get("kernel", "")
    return kernel.endswith("8.img") or (not kernel and "kernel8.img" in files and "kernel7.img" not in files)


def _arm64(files: BootFiles, name: str) -> bytes:
    """Return an uncompressed kernel; the firmware unpacks gzip, and nothing else."""
    kernel = files.read(name)
    if kernel.startswith(_GZIP):
        try:
            kernel = gzip.decompress(kernel)
        except (OSError, EOFError, zlib.error) as error:
            raise _refusal(files, f"{name} is a broken gzip file: {error}") from error
    if kernel[_ARM64_AT : _ARM64_AT + len(_ARM64)] != _ARM64:
        raise _refusal(
            files,
            f"{name} is not a 64-bit kernel, and starts in 64-bit mode",
            hint="it has to be an arm64 Image, as it is or in gzip",
        )
    return kernel


def _cmdline(files: BootFiles, told: Settings, prefix: str) -> tuple[str, list[str]]:
    """Return the command line on the card, and what is odd about it."""
    name = _placed(prefix, told.values.get("cmdline", "cmdline.txt"))
    text = files.read(name).decode(errors="replace") if name in files else ""
    first, *others = text.splitlines() or [""]
    if not text.strip():
        return _OWN_CMDLINE, [f"{name} is empty or not there: the firmware takes a command line of its own"]
    return first, [f"{name}: only its first line counts"] if any(others) else []


def _words(bootargs: str, cmdline: str, console: str) -> str:
    """Return the kernel's whole command line; `serial0` is what Raspberry Pi OS calls the header's UART."""
    words = [*bootargs.split(), *cmdline.split()]
    return " ".join(word.replace("console=serial0", f"console={console}") for word in words)


def _overlays(files: BootFiles, told: Settings, prefix: str) -> list[str]:
    """Return what became of the device tree overlays; the firmware goes on without one that is missing."""
    folder = told.values.get("overlay_prefix", "overlays/")
    own = f"{prefix}{folder}" if f"{prefix}{folder}README" in files else folder
    return [
        f"overlay {name}: "
        + ("not for an emulated Pi" if f"{own}{name}.dtbo" in files else f"{own}{name}.dtbo is not there")
        for name in told.overlays
    ]


def _require(files: BootFiles, wanted: Iterable[str], why: str) -> None:
    missing = [name for name in wanted if name not in files]
    if missing:
        raise _refusal(files, f"{', '.join(missing)} not there", hint=why)


def _refusal(files: BootFiles, what: str, *, hint: str = "") -> BuildError:
    return BuildError(f"{files.image}: a Pi 3 does not start from this card: {what}", hint=hint)
