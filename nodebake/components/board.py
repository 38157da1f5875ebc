"""What a board needs on its boot partition beside the operating system's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.components.contract import Baked, Component, Materials
from nodebake.overlay import render
from nodebake.plan import Setting, with_part

if TYPE_CHECKING:
    from nodebake.errors import Problem
    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.load import Loaded

from dataclasses import dataclass

# Alpine's own line (aports scripts/mkimg.arm.sh), and the memory controller, which the firmware's device
# tree switches off.
_ALPINE_CMDLINE = (
    "modules=loop,squashfs,sd-mod,usb-storage",
    "quiet",
    "console=tty1",
    "cgroup_enable=memory",
)
# The same for a virtual machine, which has a screen or a serial line (aports, scripts/mkimg.standard.sh).
_PC_CMDLINE = ("modules=loop,squashfs,sd-mod,usb-storage", "quiet", "console=tty0", "console=ttyS0,115200")
# MiB for a graphics unit that nobody looks at. Less than 32 would need firmware files that are not there.
_SMALL_GPU = {"gpu_mem": "32"}
_VARIANTS = {"raspberrypi": ("raspberrypi", _ALPINE_CMDLINE), "x86_64": ("pc", _PC_CMDLINE)}
_SMALL_BOARDS = ("rpi3", "rpi-zero-2w")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPart:
    """The boot partition.

    Attributes:
        variant: which part of `overlays/board` applies; empty when the operating system keeps its own files.
        cmdline: words of the kernel's command line.
        config: lines of `usercfg.txt`, which `config.txt` includes.
    """

    variant: str
    cmdline: tuple[str, ...]
    config: dict[str, str]


def decide(loaded: Loaded, plan: Plan) -> tuple[Plan, list[Problem]]:
    """Return `plan` with a `BoardPart`."""
    # Only Alpine boots from files that are the same on every card; Debian's name the root partition.
    kind = (plan.board.firmware or plan.arch) if loaded.profile.machine.os == "alpine" else ""
    variant, cmdline = _VARIANTS.get(kind, ("", ()))
    small = plan.board.name in _SMALL_BOARDS and variant
    part = BoardPart(variant=variant, cmdline=cmdline, config=dict(_SMALL_GPU) if small else {})
    origin = f"board {plan.board.name}"
    settings = [
        Setting(path=f"board.{name}", value=value, origin=origin) for name, value in part.config.items()
    ]
    if part.cmdline:
        settings.append(Setting(path="board.cmdline", value=" ".join(part.cmdline), origin=origin))
    return with_part(plan, part, tuple(settings)), []


def bake(plan: Plan, node: NodePlan, materials: Materials) -> Baked:
    """Return the files for the FAT partition: a Raspberry Pi's firmware reads them, or a PC's boot loader."""
    del node, materials
    part = plan.part(BoardPart)
    if not part.variant:
        return Baked()
    return Baked(boot=render("board", [part.variant], {"cmdline": part.cmdline, "config": part.config}))


COMPONENT = Component(part=BoardPart, decide=decide, bake=bake)
