"""Promises of the flannel component: what it decides, refuses, asks for and bakes."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from nodebake.command import run
from nodebake.components import flannel
from nodebake.components.flannel import FlannelPart
from tests.components import DEBIAN, baked, decide, plan_of, text
from tests.need import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SCRIPTS = ROOT / "overlays/flannel/any/usr/local/lib/nodebake"
# What flannel's own mk-docker-opts.sh -k DOCKER_NETWORK_OPTIONS of 0.28.9 makes of the same subnet.
DOCKER = """\
DOCKER_OPT_BIP="--bip=172.30.40.1/21"
DOCKER_OPT_IPMASQ="--ip-masq=false"
DOCKER_OPT_MTU="--mtu=1450"
DOCKER_NETWORK_OPTIONS=" --bip=172.30.40.1/21 --ip-masq=false --mtu=1450"
"""


def _told(directory: Path, **changes: Any) -> list[str]:  # noqa: ANN401 - any section
    return [str(problem).partition(": ")[2] for problem in decide(directory, **changes)[1]]


def test_without_the_section_nothing_is_asked_for(tmp_path: Path) -> None:
    """No program is fetched, no certificate issued and no port opened for what is switched off."""
    plan = plan_of(tmp_path, firewall={})
    assert not plan.has(FlannelPart)
    assert not [path for path in baked(plan) if "flannel" in path]
    assert 8472 not in {opening.port for opening in plan.needs.openings}


def test_defaults_are_the_hand_made_network(tmp_path: Path) -> None:
    """An empty section is the recipe's network, under the recipe's key, in flannel's own words."""
    part = plan_of(tmp_path, flannel={}).part(FlannelPart)
    expected = {"Network": "172.30.0.0/16", "SubnetLen": 21, "Backend": {"Type": "vxlan"}}
    assert expected == json.loads(part.config)
    assert "/kubernetes/network" == part.prefix


def test_flanneld_has_a_certificate_of_its_own(tmp_path: Path) -> None:
    """One client certificate per node, for flannel alone, its key closed to others."""
    plan = plan_of(tmp_path, flannel={})
    (leaf,) = flannel.leaves(plan, plan.node("m1"))
    assert (leaf.common_name, leaf.usages, leaf.dns, leaf.ips) == ("flannel", ("client",), (), ())
    assert ("flanneld",) == flannel.trusting(plan, plan.node("m1"))
    tree = baked(plan)
    assert 0o600 == stat.S_IMODE(tree["etc/flannel/pki/flannel.key"].mode)
    assert tree["etc/flannel/pki/flannel.key"] != tree["etc/etcd/pki/client.key"]


@pytest.mark.parametrize("system", [{}, DEBIAN], ids=["openrc", "systemd"])
def test_kernel_is_made_ready(tmp_path: Path, system: dict[str, Any]) -> None:
    """br_netfilter, the backend's module and forwarding are there at every boot; the user's words win."""
    plan = plan_of(tmp_path, flannel={}, system={"sysctl": {"net.ipv4.ip_forward": 2}}, **system)
    tree = baked(plan)
    assert {"br_netfilter", "vxlan"} <= set(text(tree, "etc/modules-load.d/nodebake.conf").split())
    settings = text(tree, "etc/sysctl.d/90-nodebake.conf").splitlines()
    assert {"net.ipv4.ip_forward = 2", "net.bridge.bridge-nf-call-iptables = 1"} <= set(settings)


def test_port_of_the_backend_is_open_to_the_nodes(tmp_path: Path) -> None:
    """UDP 8472 for vxlan, 51820 for wireguard, none for plain routes."""
    for backend, ports in {"vxlan": {8472}, "wireguard": {51820}, "host-gw": set[int]()}.items():
        plan = plan_of(tmp_path, flannel={"backend": backend}, firewall={})
        opened = {one.port: one for one in plan.needs.openings if one.protocol == "udp"}
        assert ports == set(opened)
        assert {"nodes"} >= {one.callers for one in opened.values()}
        rules = text(baked(plan), "etc/nodebake/firewall.nft")
        assert all(f"udp dport {port} accept" in rules for port in ports)


def test_flanneld_runs_under_both_inits(tmp_path: Path) -> None:
    """Enabled by itself, after etcd where there is one, before Docker, restarted for ever."""
    openrc = baked(plan_of(tmp_path, flannel={}))
    assert openrc["etc/runlevels/default/flanneld"].content == b"/etc/init.d/flanneld"
    assert "iptables" in text(openrc, "etc/apk/world").split()
    nodes = [
        {"name": "m1", "address": ["192.168.7.11/24"]},
        {"name": "c1", "address": ["192.168.7.21/24"], "role": "client"},
    ]
    plan = plan_of(tmp_path, flannel={}, nodes=nodes, **DEBIAN)
    unit = text(baked(plan), "etc/systemd/system/flanneld.service").splitlines()
    expected = {"Type=notify", "TimeoutStartSec=infinity", "Restart=always", "StartLimitIntervalSec=0"}
    assert expected | {"After=network.target etcd.service", "Before=docker.service"} <= set(unit)
    client = baked(plan, "c1")
    assert "After=network.target" in text(client, "etc/systemd/system/flanneld.service").splitlines()
    assert 'ADDRESS="192.168.7.21"' in text(client, "etc/nodebake/flannel").splitlines()
    assert "etc/systemd/system/docker.service.requires/flanneld.service" in client


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (
            {"network": "192.168.0.0/16"},
            ["flannel.network: 192.168.0.0/16 overlaps 192.168.7.0/24, which the"],
        ),
        ({"network": "8.8.0.0/16"}, ["flannel.network: 8.8.0.0/16 is not a private network"]),
        ({"network": "172.30.0.0/20"}, ["flannel.subnet_length: 172.30.0.0/20 has no room for four subnets"]),
        ({"subnet_length": 17}, ["flannel.subnet_length: 172.30.0.0/16 has no room for four subnets of /17"]),
        ({"version": "0.17.0"}, ["flannel.version: flannel 0.17.0 is not known here; take 0.25.0 or later"]),
        ({"key": "/x/y", "cert": "/x/y"}, ["flannel.key: /x/y is already cert"]),
    ],
)
def test_what_flannel_would_trip_over_is_refused(tmp_path: Path, section: Any, expected: list[str]) -> None:  # noqa: ANN401
    """Each with its key, before anything is built."""
    told = _told(tmp_path, flannel=section, network={"nameservers": []})
    assert len(expected) == len(told)
    assert all(one.startswith(start) for one, start in zip(told, expected, strict=True))


def test_what_to_do_is_possible(tmp_path: Path) -> None:
    """The network to take is not the one that was refused, and no subnet is longer than there are."""
    nodes = [{"name": "m1", "address": ["172.30.0.11/24"]}]
    (overlap,) = _told(tmp_path, flannel={}, nodes=nodes, network={"gateway": [], "nameservers": []})
    assert overlap.endswith("such as 10.240.0.0/16")
    (small,) = _told(tmp_path, flannel={"network": "172.30.0.0/30", "subnet_length": 30})
    assert small.endswith("flannel's least; write a larger network")
    assert _told(tmp_path, flannel={"network": "0.0.0.0/0"})


def test_every_node_needs_a_subnet(tmp_path: Path) -> None:
    """Flannel leaves out the first subnet, so four are enough for three nodes, and not for four."""
    nodes = [{"name": f"m{n}", "address": [f"192.168.7.1{n}/24"]} for n in (1, 2, 3, 4)]
    section = {"network": "172.30.0.0/24", "subnet_length": 26}
    assert [] == _told(tmp_path, flannel=section, nodes=nodes[:3])
    (told,) = _told(tmp_path, flannel=section, nodes=nodes)
    assert "flannel.subnet_length: 172.30.0.0/24 has 3 subnets of /26, for 4 nodes" in told


def test_node_without_ipv4_and_name_server_in_the_network_are_told_together(tmp_path: Path) -> None:
    """All at once, each at its own line."""
    told = _told(
        tmp_path,
        nodes=[{"name": "m1", "address": ["fd00:7::11/64"]}],
        network={"gateway": [], "nameservers": ["172.30.0.1"]},
        flannel={},
    )
    server, address = told
    assert server.startswith("flannel.network: 172.30.0.0/16 has the name server 172.30.0.1 in it")
    assert address.startswith("nodes[0].address: m1 has no IPv4 address")


def test_release_that_loses_its_watch_is_warned_of(tmp_path: Path) -> None:
    """Before 0.28.6 flanneld does not get over a compaction of etcd, which happens every hour."""
    old, new = (plan_of(tmp_path, flannel={"version": one}).warnings for one in ("0.27.4", "0.28.9"))
    assert any("take 0.28.6 or later" in warning for warning in old)
    assert not any("take 0.28.6 or later" in warning for warning in new)


def test_docker_gets_the_options_that_flannels_own_script_writes(tmp_path: Path) -> None:
    """The same file, byte by byte, from the same subnet."""
    (tmp_path / "subnet.env").write_text(
        "FLANNEL_NETWORK=172.30.0.0/16\nFLANNEL_SUBNET=172.30.40.1/21\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
    )
    run(["sh", SCRIPTS / "flannel-docker"], env={"FLANNEL_RUN": str(tmp_path)})
    assert (tmp_path / "docker").read_text() == DOCKER


def test_missing_iptables_is_said_and_not_looped_over(tmp_path: Path) -> None:
    """Flanneld would end with an error of its own; the reason stands in the log instead."""
    settings = tmp_path / "flannel"
    settings.write_text(text(baked(plan_of(tmp_path, flannel={})), "etc/nodebake/flannel"))
    command: list[str | Path] = [
        "sh",
        "-c",
        'PATH=/nowhere "$0" "$1" 2>&1',
        "/bin/sh",
        SCRIPTS / "flannel-run",
    ]
    said = run(command, env={"FLANNEL_CONF": str(settings)}, accept=(1,))
    assert b"flannel: not started: the program iptables is not installed" in said
