"""k3s's services over a real etcd, started as the artefacts say; the program itself is a stub."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from nodebake.command import run
from tests.cluster.built import Built, bake, write_profile
from tests.cluster.cluster import Cluster, empty
from tests.cluster.unit import Systemd
from tests.k3s_stub import VERSION, stubbed
from tests.need import need
from tests.patience import still, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.machine import Machine
    from tests.cluster.openrc import OpenRc

ROLES: dict[str, Any] = {"version": VERSION, "servers": ["s1", "s2"], "agents": ["a1"]}
DEBIAN: dict[str, Any] = {
    "schema": 1,
    "cluster": {"name": "pods", "domain": "edge.example.com"},
    "machine": {"os": "debian", "board": "vm", "arch": "x86_64"},
    "network": {"interface": "eth0"},
    "nodes": [
        *({"name": name, "address": f"10.79.0.1{name[1]}/24"} for name in ("s1", "s2")),
        {"name": "a1", "address": "10.79.0.21/24", "role": "client"},
    ],
    "k3s": ROLES,
    "firewall": {},
    "outputs": ["rootfs"],
}
SHIPPED: dict[str, Any] = {"schema": 1, "extends": "pi3-k3s", "k3s": {"version": VERSION}}
EMULATED = 180  # seconds for what is emulated
TLS = "k3s/server/tls/server-ca.crt"


@pytest.fixture
def cluster(tmp_path: Path, etcdctl: Path) -> Iterator[Cluster]:
    """Return two servers and an agent behind their filters: all up, nothing started."""
    built = bake(write_profile(tmp_path, "pods", DEBIAN), tmp_path, stubs=stubbed(tmp_path))
    with empty(built, tmp_path / "run", etcdctl) as cluster:
        for node in built.plan.nodes:
            cluster.add(node.name).also("nodebake-firewall").start()
        yield cluster
    shutil.rmtree(tmp_path)


def _start(machine: Machine, name: str) -> Systemd:
    service = machine.also(name, "k3s")
    assert isinstance(service, Systemd)
    service.start()
    return service


def _ready(built: Built, desk: Any, context: str) -> str:  # noqa: ANN401 - a namespace
    """Ask an API server whether it is ready, as the operator does."""
    kubectl = need("kubectl", package="kubernetes-client")
    config = built.operator / "kubeconfig"
    words = ["--kubeconfig", config, "--context", context, "get", "--raw", "/readyz"]
    answer: bytes = desk.run(kubectl, *words)
    return answer.decode()


def test_servers_wait_for_etcd_and_then_serve_whom_the_vault_knows(cluster: Cluster) -> None:
    """Nothing gives up before a quorum; then servers write to etcd, the agent joins, kubectl works."""
    servers = {name: _start(cluster.machines[name], "k3s") for name in ("s1", "s2")}
    agent = _start(cluster.machines["a1"], "k3s-agent")
    until("the agent waits for a server", lambda: "waiting for a server" in agent.log())
    for service in servers.values():
        until("k3s says that it waits", lambda one=service: "waiting for etcd" in one.log())  # type: ignore[misc]
    cluster.machines["s1"].service.start()
    still("a member alone is no quorum", lambda: "k3s-stub" not in servers["s1"].log(), seconds=5)
    cluster.machines["s2"].service.start()
    cluster.formed()
    for name, service in servers.items():
        until(f"k3s is ready on {name}", service.ready)
        assert "up" == cluster.desk.etcdctl("get", f"/k3s-stub/{name}", "--print-value-only").strip()
    until("the agent has joined", lambda: "k3s-stub: joined" in agent.log())
    assert any("a1 joined" in service.log() for service in servers.values())

    for context in ("pods", "pods-s2"):
        assert "ok" == _ready(cluster.built, cluster.desk.box, context)
    judged = cluster.judged()
    assert {"k3s on s1 is ready, says its API", "k3s on s2 turns away who shows no certificate"} <= set(
        judged
    )

    authority = cluster.machines["s1"].root / "var/lib/rancher" / TLS
    made = authority.stat().st_mtime_ns
    servers["s1"].kill()
    servers["s1"].back()
    until("k3s is ready again", servers["s1"].ready)
    assert made == authority.stat().st_mtime_ns
    assert "ok" == _ready(cluster.built, cluster.desk.box, "pods")


def test_shipped_profile_runs_under_openrc_from_the_boot_medium(tmp_path: Path, etcdctl: Path) -> None:
    """As on a Pi: Alpine's init starts k3s, which waits by itself and comes back after a crash."""
    built = bake(write_profile(tmp_path, "pi3-k3s", SHIPPED), tmp_path, stubs=stubbed(tmp_path, "aarch64"))
    names = [node.name for node in built.plan.nodes]
    with empty(built, tmp_path / "run", etcdctl) as cluster:
        services = {}
        for name in names:
            services[name] = cluster.add(name).also("k3s")
            services[name].start()  # returns at once, or nobody could log in while there is no quorum
        for service in services.values():
            until("k3s says that it waits", lambda one=service: "waiting for etcd" in one.log())  # type: ignore[misc]
        for name in names:
            cluster.machines[name].service.start()
        cluster.formed()
        for number, name in enumerate(names):
            _serves(services[name], times=1)
            assert "up" == cluster.desk.etcdctl("get", f"/k3s-stub/{name}", "--print-value-only").strip()
            context = "edge-k3s" if number == 0 else f"edge-k3s-{name}"
            assert "ok" == _ready(built, cluster.desk.box, context)
        _lies_where_it_costs_no_memory(cluster.machines[names[0]])
        first = services[names[0]]
        first.kill()
        _serves(first, times=2)
        first.stop()
        assert not first.alive()
        shutil.rmtree(cluster.machines[names[0]].root / "media/card/nodebake")
        first.start()
        until("k3s says what is missing", lambda: "there is no program /usr/local/bin/k3s" in first.log())
    shutil.rmtree(tmp_path)


def _serves(service: OpenRc | Systemd, *, times: int) -> None:
    until("k3s serves", lambda: service.log().count("k3s-stub: serves") == times, seconds=EMULATED)


def _lies_where_it_costs_no_memory(machine: Machine) -> None:
    box = machine.box
    mounts = run(["nsenter", f"--mount=/proc/{box.holder.pid}/ns/mnt", "cat", "/proc/self/mounts"]).decode()
    assert all(f"{machine.root}{place} " in mounts for place in ("/var/lib/kubelet", "/var/log/pods"))
    assert box.run("cat", f"/data/{TLS}").startswith(b"-----BEGIN")
    for link in ("/usr/local/bin/kubectl", "/data/k3s/agent/images/k3s-airgap-images.tar.zst"):
        assert box.run("readlink", "-f", link).startswith(b"/media/card/nodebake/usr/local/")
