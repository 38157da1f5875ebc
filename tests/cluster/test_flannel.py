"""flannel over a real cluster: real flanneld on every node, started as the artefacts say."""

from __future__ import annotations

import json
import re
import shutil
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nodebake.command import run
from tests.cluster.built import bake, write_profile
from tests.cluster.cluster import Cluster, empty
from tests.cluster.roots import carry, carry_libraries
from tests.cluster.unit import Systemd
from tests.need import need
from tests.patience import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.machine import Machine

KEY = "/kubernetes/network"
PROFILE: dict[str, Any] = {
    "schema": 1,
    "extends": "flannel",
    "cluster": {"name": "pods"},
    "nodes": [
        *({"name": f"node-{n}", "address": f"192.168.27.13{n}/24"} for n in (1, 2, 3)),
        {"name": "worker", "address": "192.168.27.139/24", "role": "client"},
    ],
    "firewall": {},
}


ALPINE: dict[str, Any] = {
    "schema": 1,
    "cluster": {"name": "pods-alpine"},
    "machine": {"os": "alpine", "board": "vm", "arch": "x86_64", "data": {}},
    "nodes": [{"name": "alpine-1", "address": "10.77.0.31/24"}],
    # Built from source: static programs, and another etcdctl to write the network with.
    "etcd": {"version": "3.6.14"},
    "flannel": {},
    "outputs": ["apkovl"],
}


@pytest.fixture
def cluster(tmp_path: Path, etcdctl: Path) -> Iterator[Cluster]:
    """Return the shipped profile's network, with a client and a filter more: all up, nothing started."""
    _need_kernel()
    built = bake(write_profile(tmp_path, "pods", PROFILE), tmp_path)
    with empty(built, tmp_path / "run", etcdctl) as cluster:
        for node in built.plan.nodes:
            _equip(cluster.add(node.name).root)
            cluster.machines[node.name].also("nodebake-firewall").start()
        yield cluster
    shutil.rmtree(tmp_path)


def _need_kernel() -> None:
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        pytest.skip("this kernel has no br_netfilter, without which flanneld ends")


def _equip(root: Path) -> None:
    """Bring iptables along, as the image that a node boots from has it."""
    program = Path(need("iptables", package="iptables")).resolve()
    matches = next(Path("/usr/lib").glob("*-linux-gnu/xtables"))
    for path in (program, *matches.iterdir()):
        carry(path, root)
    carry_libraries([program], root)
    for name in ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-restore"):
        (root / "usr/sbin" / name).symlink_to(program)


def _start(cluster: Cluster) -> dict[str, Systemd]:
    services = {}
    for name, machine in cluster.machines.items():
        service = machine.also("flanneld")
        assert isinstance(service, Systemd)
        service.start()
        services[name] = service
    return services


def _etcd(cluster: Cluster) -> None:
    for node in cluster.built.plan.members:
        cluster.machines[node.name].service.start()
    cluster.formed()


def _subnet(machine: Machine) -> str:
    """Return what flanneld wrote for its node."""
    lines = (machine.root / "run/flannel/subnet.env").read_text().splitlines()
    return dict(line.split("=") for line in lines)["FLANNEL_SUBNET"]


def _ip(machine: Machine, *words: str) -> str:
    own = f"--net=/proc/{machine.box.holder.pid}/ns/net"
    return run(["nsenter", own, "ip", *words]).decode()


def _pods(machine: Machine) -> str:
    """Give the node a bridge with the first address of its subnet, as Docker would; return the address."""
    address = IPv4Interface(_subnet(machine))
    _ip(machine, "link", "add", "pods", "type", "bridge")
    _ip(machine, "address", "add", str(address), "dev", "pods")
    _ip(machine, "link", "set", "pods", "up")
    return str(address.ip)


def _answers(cluster: Cluster, pods: dict[str, str]) -> None:
    for name, machine in cluster.machines.items():
        for other, address in pods.items():
            ping = ["ping", "-c", "1", "-W", "2", "-I", pods[name], address]
            until(f"{other}'s {address} answers {name}", lambda m=machine, p=ping: m.box.run("busybox", *p))  # type: ignore[misc]


def test_pod_network_comes_up_by_itself_and_outlives_crashes(cluster: Cluster) -> None:
    """Flanneld waits for a quorum; then every node has a subnet that all others reach, now and afterwards."""
    services = _start(cluster)
    for service in services.values():
        until("flanneld says that it waits", lambda one=service: "waiting for etcd" in one.log())  # type: ignore[misc]
    assert not any(one.crashed() or one.ready() for one in services.values())
    _etcd(cluster)
    for name, service in services.items():
        until(f"flanneld is ready on {name}", service.ready)

    assert 1 == sum("wrote the network" in one.log() for one in services.values())
    (config,) = json.loads(cluster.desk.etcdctl("get", f"{KEY}/config", "--write-out=json"))["kvs"]
    assert 1 == config["version"]
    subnets = {name: _subnet(machine) for name, machine in cluster.machines.items()}
    networks = {IPv4Interface(one).network for one in subnets.values()}
    assert len(networks) == len(cluster.machines)
    assert all(one.prefixlen == 21 and one.subnet_of(IPv4Network("172.30.0.0/16")) for one in networks)
    known = cluster.desk.etcdctl("get", f"{KEY}/subnets/", "--prefix", "--keys-only").split()
    assert {f"{KEY}/subnets/{str(one).replace('/', '-')}" for one in networks} == set(known)

    pods = {name: _pods(machine) for name, machine in cluster.machines.items()}
    for name, machine in cluster.machines.items():
        assert f"{IPv4Interface(subnets[name]).network.network_address}/32" in _ip(
            machine, "address", "show", "flannel.1"
        )
        assert f"--bip={subnets[name]}" in (machine.root / "run/flannel/docker").read_text()
        assert "FLANNEL-POSTRTG" in machine.box.run("iptables", "-t", "nat", "-S").decode()
    _answers(cluster, pods)
    (address,) = re.findall(
        r"inet ([0-9.]+)/32", _ip(cluster.machines["worker"], "address", "show", "flannel.1")
    )
    assert f"{address} on worker answers node-1" in cluster.judged()

    _crash(services["node-2"], cluster.machines["node-2"])
    _cut_power(services["worker"], cluster.machines["worker"])
    assert subnets == {name: _subnet(machine) for name, machine in cluster.machines.items()}
    _answers(cluster, pods)


def _crash(service: Systemd, machine: Machine) -> None:
    service.kill()
    service.back()
    until(f"flanneld is ready again on {machine.node.name}", service.ready)


def _cut_power(service: Systemd, machine: Machine) -> None:
    """Take away what a reboot takes: the process, the interface, and all that lies in memory."""
    service.kill()
    _ip(machine, "link", "delete", "flannel.1")
    shutil.rmtree(machine.root / "run/flannel")
    service.back()
    until(f"flanneld is ready again on {machine.node.name}", service.ready)


def test_network_that_somebody_changed_is_not_written_over(cluster: Cluster) -> None:
    """What stands in etcd counts, not what a node was baked with; the difference is told."""
    _etcd(cluster)
    changed = '{"Network":"172.29.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}'
    cluster.desk.etcdctl("put", f"{KEY}/config", changed)
    services = _start(cluster)
    for name, service in services.items():
        until(f"flanneld is ready on {name}", service.ready)
        assert "differs from what this node was baked with, and stays" in service.log()
        assert IPv4Interface(_subnet(cluster.machines[name])).network.subnet_of(IPv4Network("172.29.0.0/16"))
    assert changed == cluster.desk.etcdctl("get", f"{KEY}/config", "--print-value-only").strip()


def test_flanneld_runs_under_openrc(tmp_path: Path, etcdctl: Path) -> None:
    """Alpine's init starts it, tells Docker of its subnet, and starts it again after a crash, as it was."""
    _need_kernel()
    built = bake(write_profile(tmp_path, "pods-alpine", ALPINE), tmp_path)
    with empty(built, tmp_path / "run", etcdctl) as cluster:
        machine = cluster.add("alpine-1")
        _equip(machine.root)
        flanneld = machine.also("flanneld")
        flanneld.start()  # returns at once, or nobody could log in while there is no quorum
        machine.service.start()
        options = machine.root / "run/flannel/docker"
        until("Docker's options are there", options.exists)
        subnet = _subnet(machine)
        assert f"--bip={subnet}" in options.read_text()
        flanneld.kill()
        until("it is dead", lambda: not flanneld.alive())
        flanneld.back()
        assert subnet == _subnet(machine)
        flanneld.stop()
        assert not flanneld.alive()
    shutil.rmtree(tmp_path)
