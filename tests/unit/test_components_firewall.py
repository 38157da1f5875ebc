"""Promises of the packet filter, read back by nftables itself."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from nodebake.command import run
from tests.components import DEBIAN, baked, decide, plan_of, text
from tests.need import need, need_root

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.tree import Tree

RULES = "etc/nodebake/firewall.nft"
NODES: list[dict[str, Any]] = [
    {"name": "m1", "address": ["192.168.7.11/24", "fd00:7::11/64"]},
    {"name": "m2", "address": ["192.168.7.12/24", "fd00:7::12/64"]},
    {"name": "m3", "address": ["192.168.7.13/24", "fd00:7::13/64"]},
    {"name": "c1", "address": ["192.168.7.21/24", "fd00:7::21/64"], "role": "client"},
]


def _loaded(tree: Tree, directory: Path) -> dict[str, Any]:
    """Load a node's rules into a network namespace, twice as after a change, and return what nft lists."""
    need_root()
    nft = need("nft", package="nftables")
    rules = directory / "firewall.nft"
    rules.write_bytes(tree[RULES].content)
    script = '"$0" -f "$1" && "$0" -f "$1" && "$0" --json list table inet nodebake'
    listed: dict[str, Any] = json.loads(run(["unshare", "--net", "sh", "-c", script, nft, rules]))
    return listed


def _chain(listed: dict[str, Any]) -> dict[str, Any]:
    (found,) = [one["chain"] for one in listed["nftables"] if "chain" in one]
    assert isinstance(found, dict)
    return found


def _lets_in(listed: dict[str, Any], port: int, caller: str) -> bool:
    """Tell whether a rule accepts a new call of a port from that address."""
    for rule in (one["rule"] for one in listed["nftables"] if "rule" in one):
        matches = [step["match"] for step in rule["expr"] if "match" in step]
        fields = {one["left"]["payload"]["field"]: one for one in matches if "payload" in one["left"]}
        if fields.get("dport", {}).get("right") != port:
            continue
        if "saddr" not in fields or _within(caller, fields["saddr"]):
            return True
    return False


def _within(caller: str, match: dict[str, Any]) -> bool:
    address, family = ip_address(caller), match["left"]["payload"]["protocol"]
    if {"ip": 4, "ip6": 6}[family] != address.version:
        return False
    right = match["right"]
    items = right["set"] if isinstance(right, dict) and "set" in right else [right]
    return any(low <= int(address) <= high for low, high in map(_ends, items))


def _ends(item: str | dict[str, Any]) -> tuple[int, int]:
    if isinstance(item, str):
        return int(ip_address(item)), int(ip_address(item))
    if "range" in item:
        low, high = item["range"]
        return int(ip_address(low)), int(ip_address(high))
    network = ip_network(f"{item['prefix']['addr']}/{item['prefix']['len']}")
    return int(network[0]), int(network[-1])


def test_without_the_section_there_is_no_filter(tmp_path: Path) -> None:
    """Nobody gets a packet filter who did not ask for one."""
    assert not [path for path in baked(plan_of(tmp_path)) if "firewall" in path]


@pytest.mark.parametrize("system", [{}, DEBIAN], ids=["openrc", "systemd"])
def test_what_is_not_opened_is_dropped(tmp_path: Path, system: dict[str, Any]) -> None:
    """An empty section: clients from the nodes' networks, peers from members only, ssh from anywhere."""
    plan = plan_of(tmp_path, nodes=NODES, firewall={}, **system)
    listed = _loaded(baked(plan), tmp_path)
    chain = _chain(listed)
    assert ("input", "drop") == (chain["hook"], chain["policy"])
    callers = ("192.168.7.11", "fd00:7::13", "192.168.7.21", "192.168.7.99", "10.0.0.1")
    expected = {
        22: [True, True, True, True, True],
        2379: [True, True, True, True, False],
        2380: [True, True, False, False, False],
        2381: [False, False, False, False, False],
    }
    assert expected == {port: [_lets_in(listed, port, one) for one in callers] for port in expected}


def test_client_node_opens_nothing_of_etcd(tmp_path: Path) -> None:
    """A node that runs no etcd lets in ssh alone."""
    listed = _loaded(baked(plan_of(tmp_path, nodes=NODES, firewall={}), "c1"), tmp_path)
    calls = [_lets_in(listed, port, "192.168.7.11") for port in (22, 2379, 2380)]
    assert [True, False, False] == calls


def test_named_networks_take_the_place_of_the_nodes_own(tmp_path: Path) -> None:
    """Who is named may call, the nodes themselves always may; networks inside others are no obstacle."""
    section = {
        "clients": ["10.1.0.0/16", "10.1.2.0/24", "fd00:9::/64"],
        "ssh": "10.1.0.0/16",
        "ports": [{"port": 53, "protocol": "udp"}, {"port": 80, "networks": ["10.9.0.0/16"]}],
    }
    listed = _loaded(baked(plan_of(tmp_path, nodes=NODES, firewall=section)), tmp_path)
    callers = ("10.1.2.3", "fd00:9::1", "192.168.7.21", "192.168.7.99", "10.9.0.1")
    expected = {
        2379: [True, True, True, False, False],
        22: [True, False, False, False, False],
        53: [True, True, True, True, True],
        80: [False, False, False, False, True],
    }
    assert expected == {port: [_lets_in(listed, port, one) for one in callers] for port in expected}


def test_filter_is_loaded_before_the_network(tmp_path: Path) -> None:
    """Both inits load the rules by themselves, and Alpine installs the program that does it."""
    tree = baked(plan_of(tmp_path, firewall={}))
    assert tree["etc/runlevels/boot/nodebake-firewall"].content == b"/etc/init.d/nodebake-firewall"
    assert "nftables" in text(tree, "etc/apk/world").split()
    unit = text(
        baked(plan_of(tmp_path, firewall={}, **DEBIAN)), "etc/systemd/system/nodebake-firewall.service"
    )
    assert {"Before=network-pre.target shutdown.target", "Wants=network-pre.target"} <= set(unit.splitlines())


def test_plan_tells_who_may_call_what(tmp_path: Path) -> None:
    """Every rule is a line of the plan, and what the medium lacks is a warning."""
    plan = plan_of(tmp_path, firewall={})
    rules = [one.value for one in plan.settings if one.path.startswith("firewall.rules")]
    assert "tcp 2379 of m1, m2, m3 (etcd for clients) from 192.168.7.0/24" in rules
    assert any("nftables: not on Alpine's release medium" in warning for warning in plan.warnings)


def test_port_opened_twice_names_its_line(tmp_path: Path) -> None:
    """Two entries for one port would hide each other's networks."""
    ports = [{"port": 80, "networks": ["10.0.0.0/8"]}, {"port": 80}]
    _, problems = decide(tmp_path, firewall={"ports": ports})
    assert ["firewall.ports[1]: tcp 80 is already there"] == [
        str(one).partition(": ")[2].partition(";")[0] for one in problems
    ]
