"""The file systems that are mounted on a node: the data partition, and what components ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.components.mount import device_unit, fsck_unit, unit_name
from nodebake.overlay import render
from nodebake.plan import Mount
from nodebake.tree import Entry, link

if TYPE_CHECKING:
    from nodebake.plan import NodePlan, Plan

_BY = {"LABEL": "label", "UUID": "uuid", "PARTLABEL": "partlabel", "PARTUUID": "partuuid"}
_DATA = "data"
_SYSTEMD = "etc/systemd/system"


def mounts(plan: Plan, node: NodePlan) -> tuple[Mount, ...]:
    """Return what is mounted on `node`, the data partition first."""
    data = plan.profile.machine.data
    asked = tuple(mount for mount in plan.needs.mounts if mount.role in {None, node.role})
    if data is None:
        return asked
    ours = Mount(name=_DATA, device=data.device, mountpoint=data.mountpoint, filesystem=data.filesystem)
    return (ours, *asked)


def entries(plan: Plan, node: NodePlan) -> dict[str, Entry]:
    """Return the files that have everything mounted: a service or a unit each, and Alpine's fstab."""
    found: dict[str, Entry] = {}
    values = [_values(mount) for mount in mounts(plan, node)]
    make = _services if plan.init == "openrc" else _units
    for one in values:
        found |= make(one)
    if values and plan.init == "openrc":
        found |= dict(render("base", ["fstab"], {"mounts": values}).items())
    return found


def _services(values: dict[str, str]) -> dict[str, Entry]:
    """Return an OpenRC service: the data partition's script, by another name for another file system."""
    rendered = dict(render("base", ["mount-openrc"], values).items())
    name = "nodebake-data" if values["name"] == _DATA else f"nodebake-data.{values['name']}"
    rendered[f"etc/conf.d/{name}"] = rendered.pop("etc/conf.d/nodebake-data")
    if values["name"] != _DATA:
        rendered[f"etc/init.d/{name}"] = link("nodebake-data")
        rendered[f"etc/runlevels/boot/{name}"] = link(f"/etc/init.d/{name}")
    return rendered


def _units(values: dict[str, str]) -> dict[str, Entry]:
    """Return a mount unit by its name, how long it waits for its device, and how that is checked."""
    rendered = render("base", ["mount-systemd"], values)
    unit, device = f"{_SYSTEMD}/{values['unit']}", f"{_SYSTEMD}/{device_unit(values['what'])}.d/nodebake.conf"
    found: dict[str, Entry] = {
        unit: rendered[f"{_SYSTEMD}/data.mount"],
        device: rendered[f"{_SYSTEMD}/data.device.d/nodebake.conf"],
        f"{_SYSTEMD}/multi-user.target.wants/{values['unit']}": link(f"/{unit}"),
    }
    if values["filesystem"] == "ext4":
        found[f"{_SYSTEMD}/{values['fsck']}.d/nodebake.conf"] = rendered[
            f"{_SYSTEMD}/data.fsck.d/nodebake.conf"
        ]
    return found


def _values(mount: Mount) -> dict[str, str]:
    what = _path(mount.device)
    # On errors etcd must stop, not go on with what it cannot trust.
    careful = ",errors=remount-ro" if mount.filesystem == "ext4" else ""
    return {
        "name": mount.name,
        "device": mount.device,
        "mountpoint": mount.mountpoint,
        "filesystem": mount.filesystem,
        "options": f"noatime{careful}",
        "what": what,
        "fsck": fsck_unit(what),
        "unit": unit_name(mount.mountpoint),
    }


def _path(device: str) -> str:
    """Return the path of an fstab device, as systemd.mount(5) wants it."""
    kind, equals, name = device.partition("=")
    return f"/dev/disk/by-{_BY[kind]}/{name}" if equals else device
