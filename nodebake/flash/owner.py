"""Whose card this is: told by what is on it, before anything is asked or written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.flash.device import table
from nodebake.plan import identity

if TYPE_CHECKING:
    from nodebake.flash.device import Content, Device
    from nodebake.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What is on a device.

    Attributes:
        device: its path.
        contents: its file systems.
        nodes: the cluster's nodes that it is a card of; none, one, or more after an accident.
    """

    device: str
    contents: tuple[Content, ...]
    nodes: tuple[str, ...]


def whose(device: Device, plan: Plan) -> Owner:
    """Return what is on `device`, and which of the plan's nodes it belongs to.

    An image's ids stay on a card for good; a card prepared by hand has the node's overlay.

    Raises:
        InputError: a tool is not installed.
    """
    disk, contents = table(Path(device.path))
    uuids = {content.uuid for content in contents}
    overlays = {name for content in contents for name in content.overlays}
    nodes = []
    for node in plan.nodes:
        who = identity(plan.profile.cluster.name, node.name)
        if f"0x{who.disk:08x}" == disk or str(who.data) in uuids or node.name in overlays:
            nodes.append(node.name)
    return Owner(device=device.path, contents=contents, nodes=tuple(nodes))


def titled(device: Device) -> str:
    """Return the line that the user has to recognise a device by."""
    told = [device.model or "no model name", _size(device.size), device.transport or device.kind]
    return f"{device.path}: {', '.join(told)}, serial {device.serial or 'unknown'}"


def described(device: Device, owner: Owner) -> str:
    """Return a device and what is on it, for the user to recognise."""
    lines = [titled(device)]
    for content in owner.contents:
        words = (content.kind or "unknown", content.label, _size(content.size), *content.overlays)
        lines.append("  " + "  ".join(filter(None, words)))
    if not owner.contents:
        lines.append("  no file system that is known here")
    if owner.nodes:
        lines.append(f"  the card of {' and '.join(owner.nodes)}")
    return "\n".join(lines)


def _size(size: int) -> str:
    return f"{size / 10**9:.1f} GB" if size >= 10**9 else f"{size / 10**6:.0f} MB"
