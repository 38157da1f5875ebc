"""The operating system's files on one node."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING

from nodebake.components.mount import device_unit, fsck_unit, unit_name
from nodebake.overlay import render
from nodebake.plan import identity
from nodebake.tree import Entry, Tree, directory, file, link

if TYPE_CHECKING:
    from nodebake.components.base.part import BasePart
    from nodebake.components.contract import Materials
    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.schema import DataPartition

_UNITS = "etc/systemd/system"
_ZONES = "/usr/share/zoneinfo"
_IPV6 = 6
_BY = {"LABEL": "label", "UUID": "uuid", "PARTLABEL": "partlabel", "PARTUUID": "partuuid"}


def files(plan: Plan, node: NodePlan, part: BasePart, materials: Materials) -> Tree:
    """Return all files of this component on `node`."""
    rendered = render("base", part.variants, _values(plan, node, part, materials.epoch))
    entries = dict(rendered.items()) | _timezone(plan) | _access(plan) | _host_key(materials)
    entries |= _enabled(plan, part)
    names = _unit_names(plan.profile.machine.data)
    return Tree({_renamed(path, names): entry for path, entry in entries.items()})


def _values(plan: Plan, node: NodePlan, part: BasePart, epoch: int) -> dict[str, object]:
    profile = plan.profile
    data = profile.machine.data
    return {
        "node": node,
        "cluster": profile.cluster.name,
        "domain": profile.cluster.domain,
        "profile": plan.name,
        "board": plan.board.name,
        "epoch": epoch,
        "hosts": part.hosts,
        "interface": profile.network.interface,
        "addresses": _addresses(plan, node),
        "nameservers": profile.network.nameservers,
        "ntp": profile.network.ntp,
        "packages": part.packages,
        "modules": part.modules,
        "sysctl": part.sysctl,
        "users": part.accounts,
        "data": data,
        "data_label": data.device.removeprefix("LABEL=") if data else "",
        "data_uuid": identity(profile.cluster.name, node.name).data,
        "data_options": _options(data),
        "data_what": _device(data.device) if data else "",
        "data_unit": unit_name(data.mountpoint) if data else "",
        "data_fsck": fsck_unit(_device(data.device)) if data else "",
        "clock_stamp": f"{data.mountpoint}/.nodebake-clock" if data else "",
    }


def _addresses(plan: Plan, node: NodePlan) -> list[dict[str, str]]:
    """Return the node's addresses in the words of interfaces(5); the first of a family has its gateway."""
    gateways = {gateway.version: str(gateway) for gateway in plan.profile.network.gateway}
    addresses = []
    for text in node.interfaces:
        interface = ip_interface(text)
        six = interface.version == _IPV6
        addresses.append(
            {
                "family": "inet6" if six else "inet",
                "interface": str(interface),
                "ip": str(interface.ip),
                "netmask": str(interface.network.prefixlen if six else interface.netmask),
                "gateway": gateways.pop(interface.version, ""),
            }
        )
    return addresses


def _unit_names(data: DataPartition | None) -> dict[str, str]:
    """Return what systemd calls the units that are `data.*` in our overlays."""
    if data is None:
        return {}
    mount, device = unit_name(data.mountpoint), device_unit(_device(data.device))
    return {f"{_UNITS}/data.mount": f"{_UNITS}/{mount}", f"{_UNITS}/data.device.d": f"{_UNITS}/{device}.d"}


def _renamed(path: str, names: dict[str, str]) -> str:
    start = next((name for name in names if path == name or path.startswith(f"{name}/")), "")
    return names.get(start, "") + path.removeprefix(start)


def _device(device: str) -> str:
    """Return the path of an fstab device, as systemd.mount(5) wants it."""
    kind, equals, name = device.partition("=")
    return f"/dev/disk/by-{_BY[kind]}/{name}" if equals else device


def _options(data: DataPartition | None) -> str:
    """Return what it is mounted with; on errors etcd must stop, not go on with what it cannot trust."""
    return "noatime,errors=remount-ro" if data and data.filesystem == "ext4" else "noatime"


def _timezone(plan: Plan) -> dict[str, Entry]:
    zone = plan.profile.system.timezone
    if zone == "UTC":
        return {}
    return {"etc/localtime": link(f"{_ZONES}/{zone}"), "etc/timezone": file(f"{zone}\n".encode())}


def _access(plan: Plan) -> dict[str, Entry]:
    access = plan.profile.access
    entries = {
        f"etc/nodebake/authorized_keys/{user.name}": file(_lines(user.ssh_authorized_keys))
        for user in access.users
    }
    if access.ssh_authorized_keys:
        entries["root"] = directory(0o700)
        entries["root/.ssh"] = directory(0o700)
        entries["root/.ssh/authorized_keys"] = file(_lines(access.ssh_authorized_keys), 0o600)
    return entries


def _lines(keys: tuple[str, ...]) -> bytes:
    return "".join(f"{key.strip()}\n" for key in keys).encode()


def _host_key(materials: Materials) -> dict[str, Entry]:
    path = "etc/ssh/ssh_host_ed25519_key"
    public = materials.host_key.public.rstrip(b"\n") + b"\n"
    return {path: file(materials.host_key.private, 0o600), f"{path}.pub": file(public)}


def _enabled(plan: Plan, part: BasePart) -> dict[str, Entry]:
    if plan.init == "openrc":
        return {
            f"etc/runlevels/{level}/{service}": link(f"/etc/init.d/{service}")
            for level, services in part.services.items()
            for service in services
        }
    profile = plan.profile
    wants = {"multi-user.target": ["/etc/systemd/system/nodebake-accounts.service"]}
    if profile.machine.data:
        wants["multi-user.target"].append(f"/etc/systemd/system/{unit_name(profile.machine.data.mountpoint)}")
    if part.grown:
        wants["multi-user.target"].append("/etc/systemd/system/nodebake-partition.service")
    if "networkd" in part.variants and "nocloud" not in profile.outputs:
        wants["multi-user.target"].append("/lib/systemd/system/systemd-networkd.service")
    if profile.network.ntp:
        wants["sysinit.target"] = ["/lib/systemd/system/systemd-timesyncd.service"]
    return {
        f"etc/systemd/system/{target}.wants/{unit.rpartition('/')[2]}": link(unit)
        for target, units in wants.items()
        for unit in units
    }
