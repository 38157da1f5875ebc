"""What a machine is made of, and QEMU's command line for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from nodebake.command import find, run
from nodebake.errors import BuildError
from nodebake.formats.card.layout import MIB, SECTOR
from nodebake.lab.accelerator import Accelerator, emulator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Kind = Literal["q35", "virt", "raspi3b"]
_ARCHS = {"q35": "x86_64", "virt": "aarch64", "raspi3b": "aarch64"}
# Controllers that nothing is attached to would only be probed.
_MACHINES = {"q35": "q35,sata=off,smbus=off", "virt": "virt", "raspi3b": "raspi3b"}
_LARGER = 1 << 30  # empty, it takes no room
FIRST_DAY = "1970-01-01T00:00:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A disk, or on a Pi the card.

    Attributes:
        path: raw, or a qcow2 file if its name ends so.
        role: what it is for.
        writable: whether the machine may write to it.
        holds_data: whether its last partition is the one for data.
    """

    path: Path
    role: Literal["system", "seed", "data"]
    writable: bool = True
    holds_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One machine.

    Attributes:
        kind: QEMU's machine type.
        memory: bytes.
        append: the kernel's command line, or on a Pi what the lab adds to the card's own.
        kernel: file; so are `initrd` and `dtb`. None where the firmware finds them on the disk.
        drives: in the order the guest sees them.
        clock: the real-time clock at power-on, as QEMU's `-rtc base=` takes it.
    """

    kind: Kind
    memory: int
    append: str
    kernel: Path | None = None
    initrd: Path | None = None
    dtb: Path | None = None
    drives: tuple[Drive, ...] = ()
    clock: str = "utc"

    @property
    def arch(self) -> str:
        """The processor's architecture."""
        return _ARCHS[self.kind]


def argv(hardware: Hardware, *, accelerator: Accelerator, tap: str, number: int, control: Path) -> list[str]:
    """Return QEMU's command line.

    Args:
        hardware: the machine.
        accelerator: what runs it; the Pi's processor has a name and cannot be chosen.
        tap: its interface on the bridge.
        number: makes its MAC address, 1 to 65535.
        control: path of its control socket.
    """
    pi = hardware.kind == "raspi3b"
    processor = ("-accel", "tcg,thread=multi") if pi else (*accelerator.argv, "-smp", "1")
    return [
        *(emulator(hardware.arch), "-machine", _MACHINES[hardware.kind], *processor),
        *("-m", f"{hardware.memory // MIB}M", "-nodefaults", "-no-user-config", "-display", "none"),
        *(*_UARTS[hardware.kind], "-no-reboot", "-qmp", f"unix:{control},server=on,wait=off"),
        *_given("-append", hardware.append),
        *_given("-kernel", hardware.kernel),
        *_given("-initrd", hardware.initrd),
        *_given("-dtb", hardware.dtb),
        *(word for place, drive in enumerate(hardware.drives) for word in _drive(drive, place, pi=pi)),
        *("-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no"),
        *("-device", f"{_NETWORK[hardware.kind]},netdev=net,id=nic,mac={mac(number, kind=hardware.kind)}"),
        *(() if pi else ("-device", "virtio-rng-pci", "-rtc", f"base={hardware.clock}")),
    ]


# An empty romfile: nobody boots from the network, and loading iPXE takes time.
_NETWORK = {"q35": "virtio-net-pci,romfile=", "virt": "virtio-net-pci,romfile=", "raspi3b": "usb-net"}
# A Pi's console is the second UART, the one on its pin header; the first one serves Bluetooth.
_CONSOLE = ("-serial", "stdio")
_UARTS = {"q35": _CONSOLE, "virt": _CONSOLE, "raspi3b": ("-serial", "null", *_CONSOLE)}
# QEMU's own range; and the Raspberry Pi Foundation's. It says more than the maker: Linux calls a USB network
# card eth0 only if its address is a maker's, and usb0 if it is locally administered, as QEMU's own are.
_MAKERS = {"q35": "52:54:00", "virt": "52:54:00", "raspi3b": "b8:27:eb"}


def mac(number: int, *, kind: Kind) -> str:
    """Return the MAC address of the machine `number`, the same in every run."""
    return f"{_MAKERS[kind]}:6e:{number >> 8:02x}:{number & 255:02x}"


def _given(option: str, path: Path | str | None) -> tuple[str, ...]:
    return (option, str(path)) if path else ()


def copy_on_write(base: Path, to: Path) -> Path:
    """Make `to` a disk that starts as `base` and leaves it alone.

    Raises:
        InputError: qemu-img is not installed.
        BuildError: it failed.
    """
    words: Sequence[str | Path] = [find("qemu-img", package="qemu-utils"), "create", "-q", "-f", "qcow2"]
    run([*words, "-b", base.resolve(), "-F", "raw", to])
    return to


def without_data(drive: Drive) -> Drive:
    """Take the last partition of a disk away, and the room that it had: a node would make a new one there.

    Raises:
        BuildError: there is no other one.
    """
    disk = drive.path
    sfdisk = find("sfdisk", package="fdisk")
    *kept, _ = json.loads(run([sfdisk, "--json", disk]))["partitiontable"]["partitions"]
    if not kept:
        raise BuildError(f"{disk} has no partition for data")
    run([sfdisk, "--quiet", "--no-reread", "--no-tell-kernel", "--delete", disk, str(len(kept) + 1)])
    with disk.open("r+b") as image:
        image.truncate((kept[-1]["start"] + kept[-1]["size"]) * SECTOR)
    return replace(drive, holds_data=False)


def larger(disk: Path) -> None:
    """Make a PC's `disk` larger than what was written to it, as disks are: something to grow into."""
    with disk.open("r+b") as image:
        image.truncate(disk.stat().st_size + _LARGER)


def _drive(drive: Drive, place: int, *, pi: bool) -> tuple[str, ...]:
    # The guest's flushes need not reach the disk: power cuts here end QEMU, and the host's cache stays.
    form = "qcow2" if drive.path.suffix == ".qcow2" else "raw"
    options = f"id=disk{place},format={form},file={str(drive.path).replace(',', ',,')}"
    options += ",cache=unsafe" if drive.writable else ",readonly=on"
    if pi and drive.role == "system":
        return ("-drive", f"if=sd,{options}")
    device = "usb-storage" if pi else "virtio-blk-pci"
    return ("-drive", f"if=none,{options}", "-device", f"{device},drive=disk{place}")
