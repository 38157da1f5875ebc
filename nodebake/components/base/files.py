"""The operating system's files on one node."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING

from nodebake import VERSION
from nodebake.components.base import mounts
from nodebake.components.mount import unit_name
from nodebake.overlay import render
from nodebake.plan import identity
from nodebake.tree import Entry, Tree, directory, file, link

if TYPE_CHECKING:
    from nodebake.components.base.part import BasePart
    from nodebake.components.contract import Materials
    from nodebake.plan import NodePlan, Plan

_ZONES = "/usr/share/zoneinfo"
_IPV6 = 6


def files(plan: Plan, node: NodePlan, part: BasePart, materials: Materials) -> Tree:
    """Return all files of this component on `node`."""
    rendered = render("base", part.variants, _values(plan, node, part, materials))
    entries = dict(rendered.items()) | _timezone(plan) | _access(plan) | _host_key(materials)
    entries |= mounts.entries(plan, node) | _enabled(plan, part)
    return Tree(entries)


def _values(plan: Plan, node: NodePlan, part: BasePart, materials: Materials) -> dict[str, object]:
    profile = plan.profile
    data = profile.machine.data
    return {
        "node": node,
        "cluster": profile.cluster.name,
        "domain": profile.cluster.domain,
        "profile": plan.name,
        "board": plan.board.name,
        "epoch": materials.epoch,
        "builder": VERSION,
        "plan_digest": f"sha256:{materials.plan_digest}" if materials.plan_digest else "",
        "inputs": [used for one in materials.fetched.values() for used in one.used],
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
        "data_unit": unit_name(data.mountpoint) if data else "",
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
    if part.grown and profile.machine.data:
        # A disk that appears late is mounted by etcd's next attempt: what grows it goes with the mount.
        mount = unit_name(profile.machine.data.mountpoint)
        wants[mount] = ["/etc/systemd/system/nodebake-partition.service"]
    if "networkd" in part.variants and "nocloud" not in profile.outputs:
        wants["multi-user.target"].append("/lib/systemd/system/systemd-networkd.service")
    if profile.network.ntp:
        wants["sysinit.target"] = ["/lib/systemd/system/systemd-timesyncd.service"]
    return {
        f"etc/systemd/system/{target}.wants/{unit.rpartition('/')[2]}": link(unit)
        for target, units in wants.items()
        for unit in units
    }
