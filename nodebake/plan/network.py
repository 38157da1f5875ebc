"""What can be said against a profile's addresses."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nodebake.errors import Problem
    from nodebake.profile.load import Loaded
    from nodebake.profile.schema import Network, Node
    from nodebake.profile.types import Address, Interface

AnyNetwork = IPv4Network | IPv6Network


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield what is wrong with the nodes' addresses and the gateways."""
    networks = _networks(loaded.profile.nodes)
    yield from _gateways(loaded, networks)
    yield from _families(loaded)
    owners: dict[Address, str] = dict.fromkeys(loaded.profile.network.gateway, "the gateway")
    for index, node in enumerate(loaded.profile.nodes):
        for nth, interface in enumerate(node.address):
            path = _path(loaded, index, nth)
            wrong = _unusable(interface) or _taken(interface, owners) or _outside(interface, networks)
            if wrong:
                yield loaded.problem(path, *wrong)
            owners.setdefault(interface.ip, node.name)


def _path(loaded: Loaded, index: int, nth: int) -> str:
    many = f"nodes[{index}].address[{nth}]"
    return many if many in loaded.marks else f"nodes[{index}].address"


def _networks(nodes: tuple[Node, ...]) -> Mapping[int, AnyNetwork]:
    """Return the network most nodes are in, by IP version."""
    counts = Counter(interface.network for node in nodes for interface in node.address)
    found: dict[int, AnyNetwork] = {}
    for network, _ in counts.most_common():
        found.setdefault(network.version, network)
    return found


def _unusable(interface: Interface) -> tuple[str, str] | None:
    address, network = interface.ip, interface.network
    todo = "give the node an address of its own in its network"
    if address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local:
        return f"{address} cannot be the address of a node", todo
    if network.max_prefixlen - network.prefixlen <= 1:
        return None  # RFC 3021: no network or broadcast address in these
    if address == network.network_address:
        return f"{address} is the address of the network {network} itself", todo
    if address == network.broadcast_address and network.version == 4:  # noqa: PLR2004 - IP versions
        return f"{address} is the broadcast address of {network}", todo
    return None


def _taken(interface: Interface, owners: Mapping[Address, str]) -> tuple[str, str] | None:
    owner = owners.get(interface.ip)
    return (f"{interface.ip} is already {owner}'s", "give every node its own") if owner else None


def _outside(interface: Interface, networks: Mapping[int, AnyNetwork]) -> tuple[str, str] | None:
    expected = networks[interface.version]
    if interface.network == expected:
        return None
    return (
        f"{interface} is in {interface.network}, the other nodes are in {expected}",
        "put all nodes into one network",
    )


def _gateways(loaded: Loaded, networks: Mapping[int, AnyNetwork]) -> Iterator[Problem]:
    network: Network = loaded.profile.network
    seen: set[int] = set()
    for nth, gateway in enumerate(network.gateway):
        path = f"network.gateway[{nth}]"
        path = path if path in loaded.marks else "network.gateway"
        expected = networks.get(gateway.version)
        if gateway.version in seen:
            yield loaded.problem(
                path, f"a second IPv{gateway.version} gateway", "write one per address family"
            )
        elif expected is None:
            what = f"no node has an IPv{gateway.version} address"
            yield loaded.problem(path, what, "remove this gateway, or give the nodes such addresses")
        elif not gateway.is_link_local and gateway not in expected:
            what = f"{gateway} is outside of the nodes' network {expected}"
            yield loaded.problem(path, what, "write the router's address in that network")
        elif _is_edge(gateway, expected):
            what = f"{gateway} is the network or broadcast address of {expected}"
            yield loaded.problem(path, what, "write the router's own address")
        seen.add(gateway.version)


def _is_edge(address: Address, network: AnyNetwork) -> bool:
    # An IPv6 router may well answer to its network's first address (RFC 4291, 2.6.1).
    edges = (network.network_address, network.broadcast_address)
    return isinstance(network, IPv4Network) and network.num_addresses > len(edges) and address in edges


def _families(loaded: Loaded) -> Iterator[Problem]:
    nodes = loaded.profile.nodes
    first = nodes[0].address[0].version
    for index, node in enumerate(nodes):
        versions = [interface.version for interface in node.address]
        for nth, version in enumerate(versions):
            if version in versions[:nth]:
                what = f"a second IPv{version} address"
                yield loaded.problem(_path(loaded, index, nth), what, "write one per address family")
        if versions[0] != first:
            what = f"the first address is IPv{versions[0]}, that of {nodes[0].name} is IPv{first}"
            yield loaded.problem(_path(loaded, index, 0), what, "begin every list with the same family")
