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
# MiB for a graphics unit that nobody looks at. Less than 32 would need firmware files that are not there.
_SMALL_GPU = {"gpu_mem": "32"}
_SMALL_BOARDS = ("rpi3", "rpi-zero-2w")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPart:
    """The boot partition.

    Attributes:
        cmdline: words of `cmdline.txt`; empty when the operating system keeps its own.
        config: lines of `usercfg.txt`, which `config.txt` includes.
    """

    cmdline: tuple[str, ...]
    config: dict[str, str]


def decide(loaded: Loaded, plan: Plan) -> tuple[Plan, list[Problem]]:
    """Return `plan` with a `BoardPart`."""
    # Only Alpine boots from files that are the same on every card; Debian's name the root partition.
    ours = plan.board.firmware == "raspberrypi" and loaded.profile.machine.os == "alpine"
    small = plan.board.name in _SMALL_BOARDS
    part = BoardPart(
        cmdline=_ALPINE_CMDLINE if ours else (), config=dict(_SMALL_GPU) if ours and small else {}
    )
    origin = f"board {plan.board.name}"
    settings = [
        Setting(path=f"board.{name}", value=value, origin=origin) for name, value in part.config.items()
    ]
    if part.cmdline:
        settings.append(Setting(path="board.cmdline", value=" ".join(part.cmdline), origin=origin))
    return with_part(plan, part, tuple(settings)), []


def bake(plan: Plan, node: NodePlan, materials: Materials) -> Baked:
    """Return the files for a Raspberry Pi's FAT partition; a VM needs none."""
    del node, materials
    part = plan.part(BoardPart)
    if not part.cmdline:
        return Baked()
    return Baked(boot=render("board", ["raspberrypi"], {"cmdline": part.cmdline, "config": part.config}))


COMPONENT = Component(part=BoardPart, decide=decide, bake=bake)
