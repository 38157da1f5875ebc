"""flannel: every node has its subnet and keeps it, and what is in it answers from every other node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nodebake.components.flannel import FlannelPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.lab.rack import Rack


def check(rack: Rack) -> None:
    """Judge the pod network by what stands in etcd and by pings that nodes pass on."""
    nodes = _nodes(rack)
    rack.wait("every node has a subnet", lambda: set(_subnets(rack)) == set(nodes.values()))
    now = _subnets(rack)
    before = rack.remembered.setdefault("flannel", now)
    rack.check("every node has the subnet it had first", now == before, _told(now))
    for ip, via in nodes.items():
        for name, subnet in now.items():
            # flannel.1 has the first address; a node that passes the ping on appears as its own flannel.1.
            address = subnet.partition("-")[0]
            if name != via:
                rack.wait(
                    f"{address} on {name} answers {via}",
                    lambda to=address, by=ip: rack.judge.answers(to, via=by),  # type: ignore[misc]
                )
    rack.never_gave_up("flanneld")


def _nodes(rack: Rack) -> Mapping[str, str]:
    """Return the nodes' names by the address that flannel has."""
    return {next(ip for ip in node.ips if "." in ip): node.name for node in rack.plan.nodes}


def _subnets(rack: Rack) -> Mapping[str, str]:
    """Return each node's subnet as etcd has it, `172.30.8.0-21`."""
    names = _nodes(rack)
    prefix = f"{rack.plan.part(FlannelPart).prefix}/subnets/"
    leases = {key.removeprefix(prefix): json.loads(value) for key, value in rack.judge.get(prefix).items()}
    return {names.get(lease["PublicIP"], lease["PublicIP"]): subnet for subnet, lease in leases.items()}


def _told(subnets: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {subnet}" for name, subnet in sorted(subnets.items()))
