"""How fast machines can be: KVM if a tiny guest runs under it, TCG otherwise."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping

KVM = Path("/dev/kvm")
# A boot sector: writes 0x31 to the exit port, which makes exit status 99 (0x31 * 2 + 1), and halts.
_SECTOR = bytes.fromhex("b031e6f4f4").ljust(510, b"\0") + b"\x55\xaa"
_EXIT = 99
# All that can be emulated, but for what is slow so: string instructions, wide vectors, deep page tables, a
# second view of memory; and for what makes a guest look for machines inside it.
# An arm64 kernel signs return addresses where it can, which is slow to emulate: a processor that cannot.
_TCG_CPU = {"x86_64": "max,-erms,-fsrm,-avx,-avx2,-la57,-smap,-smep,-svm", "aarch64": "cortex-a72"}
_EMULATORS: Mapping[str, tuple[str, str]] = {
    "x86_64": ("qemu-system-x86_64", "qemu-system-x86"),
    "aarch64": ("qemu-system-aarch64", "qemu-system-arm"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """What runs a machine's instructions.

    Attributes:
        name: `kvm` or `tcg`.
        arch: of the machines.
        why: why it is not KVM; empty if it is.
    """

    name: str
    arch: str = "x86_64"
    why: str = ""

    @property
    def argv(self) -> tuple[str, ...]:
        """Return QEMU's options for it."""
        return (
            ("-accel", "kvm", "-cpu", "host")
            if self.name == "kvm"
            else ("-accel", "tcg,thread=multi", "-cpu", _TCG_CPU[self.arch])
        )


def emulator(arch: str) -> str:
    """Return the path of QEMU for `arch`.

    Raises:
        InputError: it is not installed.
    """
    name, package = _EMULATORS[arch]
    return find(name, package=package)


def probe(arch: str, *, work: Path) -> Accelerator:
    """Return the fastest accelerator that really works here.

    /dev/kvm may be there and yet fail at the guest's first instructions, so one is made to run some.

    Args:
        arch: the machines' architecture.
        work: a directory for the probe's disk.
    """
    if arch != "x86_64":
        return Accelerator(name="tcg", arch=arch, why="the lab uses KVM for x86_64 only")
    if arch != platform.machine():
        return Accelerator(name="tcg", why=f"this machine is {platform.machine()}, the lab's are {arch}")
    if not os.access(KVM, os.R_OK | os.W_OK):
        return Accelerator(name="tcg", why=f"{KVM} is {'not for this user' if KVM.exists() else 'not there'}")
    sector = work / "probe.img"
    sector.write_bytes(_SECTOR)
    argv = [
        emulator(arch),
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-nodefaults",
        "-display",
        "none",
        *probe_machine(sector),
    ]
    try:
        run(argv, timeout=10, accept=(_EXIT,))
    except BuildError as error:
        return Accelerator(
            name="tcg", why=f"{KVM} is there but does not work: {str(error).splitlines()[-1].strip()}"
        )
    return Accelerator(name="kvm")


def probe_machine(sector: Path) -> tuple[str, ...]:
    """Return the tiny guest that boots `sector` and ends with exit status 99."""
    return (
        *("-machine", "pc", "-drive", f"format=raw,file={sector}"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=1"),
    )
