"""The disks that a machine has besides the one that it starts from: empty, for the profile's file systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.components.base import BasePart
from nodebake.components.base.mounts import mounts
from nodebake.errors import InputError
from nodebake.lab.hardware import Drive

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.plan import Mount, NodePlan, Plan

_BY, _SIZE = "LABEL=", 1 << 30  # empty, it takes no room


def drives(plan: Plan, node: NodePlan, *, work: Path, name: str) -> tuple[Drive, ...]:
    """Make a disk with an empty file system for each that is not on the disk that the machine starts from.

    Args:
        plan: the cluster.
        node: whose file systems.
        work: directory for the disks.
        name: what the machine is called.

    Raises:
        InputError: the lab cannot make such a file system, or a tool is not installed.
        BuildError: one could not be made.
    """
    data = plan.profile.machine.data
    grown = data.mountpoint if data and plan.part(BasePart).grown else ""
    asked = [mount for mount in mounts(plan, node) if mount.mountpoint != grown]
    if wrong := [mount for mount in asked if mount.filesystem != "ext4" or not mount.device.startswith(_BY)]:
        told = ", ".join(f"{mount.mountpoint} ({mount.filesystem} on {mount.device})" for mount in wrong)
        raise InputError(
            f"the lab has no disk for {told}",
            hint="it makes ext4 that is found by its label: LABEL=DATA as machine.data.device, say",
        )
    return tuple(Drive(path=_disk(mount, work / f"{name}-{mount.name}.img"), role="data") for mount in asked)


def _disk(mount: Mount, path: Path) -> Path:
    with path.open("wb") as image:
        image.truncate(_SIZE)
    label = mount.device.removeprefix(_BY)
    run([find("mke2fs", package="e2fsprogs"), "-q", "-t", "ext4", "-L", label, path])
    return path
