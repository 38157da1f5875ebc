"""flannel: a network for containers over all nodes, whose subnets stand in the cluster's own etcd."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_interface
from typing import TYPE_CHECKING

from nodebake.components.contract import Baked, Component, Materials, Want
from nodebake.components.etcd import EtcdPart
from nodebake.overlay import render
from nodebake.pki import LeafRequest
from nodebake.plan import Needs, Opening, Setting, with_part
from nodebake.profile.flannel import LONGEST_SUBNET
from nodebake.tree import Entry, Tree, file, link, merge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.errors import Problem
    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.flannel import Flannel
    from nodebake.profile.load import Loaded

_LEAF = _USER = "flannel"
_PORTS = {"vxlan": 8472, "wireguard": 51820}  # flannel's Documentation/backends.md
_MODULES = {"vxlan": ("vxlan",), "wireguard": ("wireguard",)}
# Packets between containers of one node pass a bridge, and must meet the same rules as those that are routed.
_SYSCTL = {
    "net.ipv4.ip_forward": 1,
    "net.bridge.bridge-nf-call-iptables": 1,
    "net.bridge.bridge-nf-call-ip6tables": 1,
}
_OLDEST = (0, 25, 0)
_RECOVERS = (0, 28, 6)  # flannel-io/flannel#2471
_EXAMPLES = (IPv4Network("172.30.0.0/16"), IPv4Network("10.240.0.0/16"))
_SPARE_BITS = 2  # flannel pkg/subnet/config.go, CheckNetworkConfig: room for at least four subnets


@dataclass(frozen=True, slots=True, kw_only=True)
class FlannelPart:
    """Everything about flannel that is the same on all nodes.

    Attributes:
        version: upstream's version.
        config: the value of `<prefix>/config` in etcd.
        prefix: where in etcd.
        bin_dir: where flanneld lies.
        cert: path of its client certificate.
        key: path of the key.
        modules: kernel modules without which it ends.
    """

    version: str
    config: str
    prefix: str
    bin_dir: str
    cert: str
    key: str
    modules: tuple[str, ...]


def decide(loaded: Loaded, plan: Plan) -> tuple[Plan, list[Problem]]:
    """Return `plan` with a `FlannelPart`, if the profile has this section."""
    flannel = plan.profile.flannel
    if flannel is None or not plan.has(EtcdPart):
        return plan, []
    bin_dir = flannel.bin_dir or plan.part(EtcdPart).bin_dir
    part = FlannelPart(
        version=flannel.version,
        config=_config(flannel),
        prefix=flannel.prefix,
        bin_dir=bin_dir,
        cert=flannel.cert,
        key=flannel.key,
        modules=("br_netfilter", *_MODULES.get(flannel.backend, ())),
    )
    settings = [
        Setting(path="flannel.config", value=part.config, origin="derived: written to etcd once"),
        *(
            []
            if flannel.bin_dir
            else [Setting(path="flannel.bin_dir", value=bin_dir, origin="derived: etcd's")]
        ),
    ]
    port = _PORTS.get(flannel.backend)
    openings = (Opening(port=port, protocol="udp", callers="nodes", name="flannel"),) if port else ()
    needs = Needs(
        packages=("iptables",),
        modules=part.modules,
        sysctl=_SYSCTL,
        openings=openings,
        users={_USER: (f"{flannel.prefix}/",)},
    )
    planned = with_part(plan, part, settings, tuple(_warnings(plan, flannel)), needs)
    return planned, list(_problems(loaded, plan, flannel))


def wants(plan: Plan) -> tuple[Want, ...]:
    """Return flanneld for the plan's architecture."""
    version = plan.part(FlannelPart).version
    return (Want(name="flannel", version=version, arch=plan.arch, files=("flanneld",), libc=plan.libc),)


def leaves(plan: Plan, node: NodePlan) -> tuple[LeafRequest, ...]:
    """Return flannel's own client certificate: etcd's RBAC can keep this user to its prefix."""
    del plan
    return (LeafRequest(holder=node.name, name=_LEAF, common_name=_USER, usages=("client",)),)


def trusting(plan: Plan, node: NodePlan) -> tuple[str, ...]:
    """Return flanneld, a client of etcd that runs for as long as its node."""
    del plan, node
    return ("flanneld",)


def bake(plan: Plan, node: NodePlan, materials: Materials) -> Baked:
    """Return the node's flanneld with its certificate, settings and service."""
    part, leaf, fetched = plan.part(FlannelPart), materials.leaves[_LEAF], materials.fetched["flannel"]
    entries: dict[str, Entry] = {
        f"{part.bin_dir}/flanneld": file(fetched.files["flanneld"], 0o755, shared=True),
        part.cert: file(leaf.certificate),
        part.key: file(leaf.key, 0o600),
    }
    entries |= {path: file(content, 0o755, shared=True) for path, content in fetched.runtime.items()}
    return Baked(
        root=merge(render("flannel", ["any", plan.init], _values(plan, node)), _enabled(plan), Tree(entries))
    )


def company(plan: Plan, node: NodePlan) -> tuple[str, ...]:
    """Return the file with the members to call."""
    del plan, node
    return ("etc/nodebake/flannel",)


COMPONENT = Component(
    part=FlannelPart,
    decide=decide,
    bake=bake,
    wants=wants,
    leaves=leaves,
    trusting=trusting,
    services=trusting,
    company=company,
)


def _config(flannel: Flannel) -> str:
    """Return flannel's own JSON; a backend that is left out would be one for debugging."""
    config = {
        "Network": str(flannel.network),
        "SubnetLen": flannel.subnet_length,
        "Backend": {"Type": flannel.backend},
    }
    return json.dumps(config, separators=(",", ":"))


def _values(plan: Plan, node: NodePlan) -> dict[str, object]:
    part, etcd = plan.part(FlannelPart), plan.part(EtcdPart)
    return {
        "flannel": part,
        "etcdctl": f"{etcd.bin_dir}/etcdctl",
        "endpoints": etcd.endpoints,
        "ca": etcd.ca,
        # Also where the profile has a pattern for the interface's name.
        "address": next(ip for ip in node.ips if "." in ip),
        "member": node.role == "member",
    }


def _enabled(plan: Plan) -> Tree:
    if plan.init == "openrc":
        return Tree({"etc/runlevels/default/flanneld": link("/etc/init.d/flanneld")})
    unit, units = "flanneld.service", "etc/systemd/system"
    wanted = (f"{units}/multi-user.target.wants/{unit}", f"{units}/docker.service.requires/{unit}")
    return Tree({path: link(f"/{units}/{unit}") for path in wanted})


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _warnings(plan: Plan, flannel: Flannel) -> Iterator[str]:
    if _OLDEST <= _release(flannel.version) < _RECOVERS:
        yield (
            f"flannel {flannel.version} hears no more of other nodes once etcd has compacted what it would "
            "read next; take 0.28.6 or later"
        )
    if plan.init == "systemd":
        yield "flannel needs the program iptables, which no Debian image has by itself; see that yours does"


def _problems(loaded: Loaded, plan: Plan, flannel: Flannel) -> Iterator[Problem]:
    if _release(flannel.version) < _OLDEST:
        what = f"flannel {flannel.version} is not known here"
        yield loaded.problem("flannel.version", what, "take 0.25.0 or later")
    if flannel.cert == flannel.key:
        yield loaded.problem("flannel.key", f"{flannel.key} is already cert", "take another file")
    yield from _overlaps(loaded, plan, flannel.network)
    yield from _sizes(loaded, plan, flannel)
    for index, node in enumerate(plan.nodes):
        if not any("." in ip for ip in node.ips):
            what = f"{node.name} has no IPv4 address, which flannel's subnets are reached by"
            yield loaded.problem(f"nodes[{index}].address", what, "give it one, or go without flannel")


def _overlaps(loaded: Loaded, plan: Plan, network: IPv4Network) -> Iterator[Problem]:
    other = next((one for one in _EXAMPLES if not network.overlaps(one)), _EXAMPLES[0])

    def problem(what: str) -> Problem:
        todo = f"take a network that nothing else uses, such as {other}"
        return loaded.problem("flannel.network", f"{network} {what}", todo)

    if network.is_global or network.is_loopback or network.is_link_local or network.is_multicast:
        yield problem("is not a private network")
    own = dict.fromkeys(ip_interface(one).network for node in plan.nodes for one in node.interfaces)
    for theirs in own:
        if isinstance(theirs, IPv4Network) and network.overlaps(theirs):
            yield problem(f"overlaps {theirs}, which the nodes are in")
    for server in loaded.profile.network.nameservers:
        if isinstance(server, IPv4Address) and server in network:
            yield problem(f"has the name server {server} in it, which then cannot be reached")


def _sizes(loaded: Loaded, plan: Plan, flannel: Flannel) -> Iterator[Problem]:
    network, length = flannel.network, flannel.subnet_length
    least = network.prefixlen + _SPARE_BITS
    if length < least:
        longer = f"write {least} or more, or a larger network"
        yield loaded.problem(
            "flannel.subnet_length",
            f"{network} has no room for four subnets of /{length}, flannel's least",
            longer if least <= LONGEST_SUBNET else "write a larger network",
        )
        return
    usable = 2 ** (length - network.prefixlen) - 1  # flannel leaves out the first
    if usable < len(plan.nodes):
        yield loaded.problem(
            "flannel.subnet_length",
            f"{network} has {usable} subnets of /{length}, for {len(plan.nodes)} nodes",
            "write a larger subnet_length, or a larger network",
        )
