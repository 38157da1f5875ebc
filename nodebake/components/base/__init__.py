"""The operating system: names, network, clock, accounts, and what starts at boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.components.base import checks
from nodebake.components.base.files import files
from nodebake.components.base.part import FIRST_UID, Account, BasePart
from nodebake.components.contract import Baked, Component, Desk, Materials
from nodebake.plan import Setting, with_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nodebake.errors import Problem
    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.load import Loaded

__all__ = ["COMPONENT", "Account", "BasePart", "bake", "decide", "desk"]

# With an overlay Alpine's initramfs enables nothing but a clock, so this is the whole list. It is written
# out rather than asked for with etc/.default_boot_services, which brings `firstboot` and other things that
# differ between releases. modloop, modules: the kernel's packet sockets are a module, which Alpine's own
# /etc/modules names.
_RUNLEVELS = {
    "sysinit": ("cgroups", "devfs", "dmesg", "hwdrivers", "mdev", "modloop"),
    "boot": (
        "bootmisc",
        "hostname",
        "modules",
        "networking",
        "nodebake-clock",
        "seedrng",
        "sysctl",
        "syslog",
    ),
    "default": (),
    "shutdown": ("killprocs", "mount-ro", "savecache"),
}
_FILESYSTEM_TOOLS = {"ext4": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs", "f2fs": "f2fs-tools"}


def decide(loaded: Loaded, plan: Plan) -> tuple[Plan, list[Problem]]:
    """Return `plan` with a `BasePart`, its settings and warnings, and everything wrong in the profile."""
    profile, grown = plan.profile, _grown(plan)
    part = BasePart(
        hosts=tuple(_hosts(plan)),
        services=_services(plan, grown=grown),
        packages=_packages(plan),
        modules=_modules(plan),
        sysctl={**plan.needs.sysctl, **profile.system.sysctl},
        accounts=tuple(
            Account(name=user.name, uid=FIRST_UID + index, groups=user.groups)
            for index, user in enumerate(profile.access.users)
        ),
        grown=grown,
        variants=tuple(_variants(plan, grown=grown)),
    )
    planned = with_part(plan, part, tuple(_settings(plan, part)), tuple(checks.warnings(plan, part)))
    return planned, list(checks.problems(loaded, plan))


def bake(plan: Plan, node: NodePlan, materials: Materials) -> Baked:
    """Return the node's files of the operating system."""
    return Baked(root=files(plan, node, plan.part(BasePart), materials))


def desk(plan: Plan, given: Desk) -> Mapping[str, bytes]:
    """Return known hosts: a line per node with all its names and addresses, as sshd(8) defines it."""
    lines = []
    for node in plan.nodes:
        names = dict.fromkeys((node.name, *node.dns, *node.ips))  # in order, each once
        lines.append(b"%s %s\n" % (",".join(names).encode(), given.host_keys[node.name].public.strip()))
    return {"known_hosts": b"".join(lines)}


def company(plan: Plan, node: NodePlan) -> tuple[str, ...]:
    """Return the file with every node's names."""
    del plan, node
    return ("etc/hosts",)


COMPONENT = Component(part=BasePart, decide=decide, bake=bake, desk=desk, company=company)


def _hosts(plan: Plan) -> Iterator[str]:
    """Yield hosts(5) lines; a shared name has one line per member, and resolvers return them all."""
    for node in plan.nodes:
        for ip in node.ips:
            yield f"{ip} {' '.join(dict.fromkeys((node.fqdn, *node.dns)))}"
    for member in plan.members:
        for ip in member.ips if plan.shared_names else ():
            yield f"{ip} {' '.join(plan.shared_names)}"
    for ip, names in _further_names(plan).items():
        yield f"{ip} {' '.join(names)}"


def _further_names(plan: Plan) -> Mapping[str, list[str]]:
    """Return what components call further, by address."""
    found: dict[str, list[str]] = {}
    for name, addresses in plan.needs.names.items():
        for ip in addresses:
            found.setdefault(ip, []).append(name)
    return found


def _grown(plan: Plan) -> bool:
    """Tell where the data partition belongs, when the profile leaves it open."""
    data = plan.profile.machine.data
    if data is None or data.place is not None:
        return data is not None and data.place == "boot-disk"
    ours = plan.init == "openrc" or plan.board.firmware is not None
    return ours and data.filesystem == "ext4" and data.device.startswith("LABEL=")


def _services(plan: Plan, *, grown: bool) -> dict[str, tuple[str, ...]]:
    if plan.init != "openrc":
        return {}
    profile = plan.profile
    boot = [
        ("nodebake-data", profile.machine.data),
        ("nodebake-programs", "apkovl" in profile.outputs),
        ("nodebake-users", profile.access.users),
    ]
    default = [
        ("acpid", plan.board.firmware is None),
        ("chronyd", profile.network.ntp),
        ("sshd", _ssh(plan)),
    ]
    return _RUNLEVELS | {
        "sysinit": (*_RUNLEVELS["sysinit"], *(("nodebake-partition",) if grown else ())),
        "boot": (*_RUNLEVELS["boot"], *(name for name, wanted in boot if wanted)),
        "default": tuple(name for name, wanted in default if wanted),
    }


def _packages(plan: Plan) -> tuple[str, ...]:
    if plan.init != "openrc":
        return ()
    profile = plan.profile
    data = profile.machine.data
    wanted = [
        ("chrony", profile.network.ntp),
        ("openssh", _ssh(plan)),
        ("tzdata", profile.system.timezone != "UTC"),
        (_FILESYSTEM_TOOLS[data.filesystem] if data else "", data),
    ]
    ours = (name for name, use in wanted if use)
    return tuple(dict.fromkeys(("alpine-base", *ours, *plan.needs.packages, *profile.system.packages)))


def _modules(plan: Plan) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*plan.needs.modules, *plan.profile.system.modules)))


def _ssh(plan: Plan) -> bool:
    access = plan.profile.access
    return bool(access.ssh_authorized_keys) or any(user.ssh_authorized_keys for user in access.users)


def _variants(plan: Plan, *, grown: bool) -> Iterator[str]:
    profile, init = plan.profile, plan.init
    # cloud-init writes network and resolver itself, from the seed's network-config. networkd gets its file
    # all the same: without netplan cloud-init writes one that knows no patterns.
    own_network = init == "openrc" or "nocloud" not in profile.outputs
    wanted = [
        ("resolver", own_network and profile.network.nameservers),
        ("networkd", init == "systemd"),
        ("modules", _modules(plan)),
        ("sysctl", profile.system.sysctl or plan.needs.sysctl),
        (f"ntp-{init}", profile.network.ntp),
        ("data", profile.machine.data or plan.needs.mounts),
        (f"partition-{init}", grown),
        ("medium-openrc", "apkovl" in profile.outputs),
        (f"users-{init}", profile.access.users),
    ]
    yield from ("any", init)
    yield from (name for name, use in wanted if use)


def _settings(plan: Plan, part: BasePart) -> Iterator[Setting]:
    data = plan.profile.machine.data
    if data and data.place is None:
        why = "derived: the node's own ext4, found by its label" if part.grown else "derived: you prepare it"
        place = "boot-disk" if part.grown else "own-disk"
        yield Setting(path="machine.data.place", value=place, origin=why)
    for level, services in part.services.items():
        origin = "derived: all that Alpine is to start"
        yield Setting(path=f"runlevels.{level}", value=list(services), origin=origin)
    if part.packages:
        yield Setting(path="packages", value=list(part.packages), origin="derived: for these services")
