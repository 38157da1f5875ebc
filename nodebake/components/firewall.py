"""The packet filter: what may come in at a node. Everything else is dropped; everything may go out."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_interface, ip_network
from itertools import chain
from typing import TYPE_CHECKING

from nodebake.components.contract import Baked, Component, Materials
from nodebake.overlay import render
from nodebake.plan import Needs, Opening, Setting, with_part
from nodebake.tree import Tree, link, merge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nodebake.errors import Problem
    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.firewall import Firewall
    from nodebake.profile.load import Loaded

AnyNetwork = IPv4Network | IPv6Network
_SSH = 22
_FAMILIES = {4: "ip", 6: "ip6"}  # of nftables
_ENABLED = {
    "openrc": ("etc/runlevels/boot/nodebake-firewall", "/etc/init.d/nodebake-firewall"),
    "systemd": (
        "etc/systemd/system/sysinit.target.wants/nodebake-firewall.service",
        "/etc/systemd/system/nodebake-firewall.service",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A port that may be called.

    Attributes:
        opening: the port, and on which nodes.
        sources: nftables' name of an address family to networks; None for anyone.
    """

    opening: Opening
    sources: dict[str, tuple[str, ...]] | None

    def __str__(self) -> str:
        opening = self.opening
        callers = "anyone" if self.sources is None else ", ".join(chain(*self.sources.values())) or "nobody"
        where = f" of {', '.join(opening.nodes)}" if opening.nodes else ""
        return f"{opening.protocol} {opening.port}{where} ({opening.name}) from {callers}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallPart:
    """What may come in, in order; and whose traffic may as a whole, by family."""

    rules: tuple[Rule, ...]
    trusted: dict[str, tuple[str, ...]]


def decide(loaded: Loaded, plan: Plan) -> tuple[Plan, list[Problem]]:
    """Return `plan` with a `FirewallPart`, if the profile has this section."""
    firewall = plan.profile.firewall
    if firewall is None:
        return plan, []
    part = FirewallPart(
        rules=(*_of_components(plan, firewall), *_of_the_user(firewall)),
        trusted=_sources([ip_network(one) for one in plan.needs.trusted]),
    )
    settings = [
        Setting(path=f"firewall.rules[{index}]", value=str(rule), origin="derived")
        for index, rule in enumerate(part.rules)
    ]
    if firewall.clients is None:
        own = [str(network) for network in _nodes_networks(plan)]
        settings.append(Setting(path="firewall.clients", value=own, origin="derived: the nodes' networks"))
    needs = Needs(packages=("nftables",))
    planned = with_part(plan, part, settings, tuple(_warnings(firewall)), needs)
    return planned, list(_problems(loaded, firewall))


def bake(plan: Plan, node: NodePlan, materials: Materials) -> Baked:
    """Return the node's rules, and the service that loads them before the network comes up."""
    del materials
    part = plan.part(FirewallPart)
    rules = [rule for rule in part.rules if not rule.opening.nodes or node.name in rule.opening.nodes]
    path, target = _ENABLED[plan.init]
    interface = plan.profile.network.interface
    values = {"rules": rules, "trusted": part.trusted, "interface": interface}
    tree = render("firewall", ["any", plan.init], values)
    return Baked(root=merge(tree, Tree({path: link(target)})))


def services(plan: Plan, node: NodePlan) -> tuple[str, ...]:
    """Return what loads the rules, all at once."""
    del plan, node
    return ("nodebake-firewall",)


def company(plan: Plan, node: NodePlan) -> tuple[str, ...]:
    """Return the rules: members are called by members only."""
    del plan, node
    return ("etc/nodebake/firewall.nft",)


COMPONENT = Component(part=FirewallPart, decide=decide, bake=bake, services=services, company=company)


def _of_components(plan: Plan, firewall: Firewall) -> Iterator[Rule]:
    nodes = [ip_network(ip) for node in plan.nodes for ip in node.ips]
    members = [ip_network(ip) for node in plan.members for ip in node.ips]
    clients = _nodes_networks(plan) if firewall.clients is None else firewall.clients
    callers = {"nodes": nodes, "members": members, "clients": [*nodes, *clients]}
    yield Rule(
        opening=Opening(port=_SSH, callers="anyone", name="ssh"),
        sources=None if firewall.ssh is None else _sources(firewall.ssh),
    )
    for opening in plan.needs.openings:
        who = callers.get(opening.callers)
        yield Rule(opening=opening, sources=None if who is None else _sources(who))


def _of_the_user(firewall: Firewall) -> Iterator[Rule]:
    for one in firewall.ports:
        opening = Opening(port=one.port, protocol=one.protocol, callers="anyone", name="firewall.ports")
        yield Rule(opening=opening, sources=None if one.networks is None else _sources(one.networks))


def _sources(networks: Iterable[AnyNetwork]) -> dict[str, tuple[str, ...]]:
    """Return networks by family, none inside another: nftables takes no sets that overlap."""
    found: dict[str, tuple[str, ...]] = {}
    for version, family in _FAMILIES.items():
        same = [network for network in networks if network.version == version]
        collapsed: Iterable[AnyNetwork] = collapse_addresses(same)  # type: ignore[type-var]  # of one version
        if same:
            found[family] = tuple(str(network) for network in collapsed)
    return found


def _nodes_networks(plan: Plan) -> tuple[AnyNetwork, ...]:
    return tuple(dict.fromkeys(ip_interface(one).network for node in plan.nodes for one in node.interfaces))


def _warnings(firewall: Firewall) -> Iterator[str]:
    if firewall.ssh == ():
        yield "firewall.ssh is empty: nobody can log in over the network"


def _problems(loaded: Loaded, firewall: Firewall) -> Iterator[Problem]:
    seen: set[tuple[int, str]] = set()
    for index, one in enumerate(firewall.ports):
        if (one.port, one.protocol) in seen:
            what = f"{one.protocol} {one.port} is already there"
            yield loaded.problem(f"firewall.ports[{index}]", what, "write all its networks in one entry")
        seen.add((one.port, one.protocol))
