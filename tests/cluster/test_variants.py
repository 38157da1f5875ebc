"""Clusters no shipped profile has: other address families, other kinds of keys, the user's own authority."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from tests.cluster.built import Built, bake, write_profile

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.cluster.cluster import Cluster

    Bench = Callable[[Built], AbstractContextManager[Cluster]]

ADDRESSES = {
    "ipv4": ["10.78.0.{}/24"],
    "ipv6": ["fd00:78::{}/64"],
    "dual": ["10.78.0.{}/24", "fd00:78::{}/64"],
}


def _profile(family: str, **sections: object) -> dict[str, object]:
    nodes = [
        {"name": f"n{number}", "address": [one.format(10 + number) for one in ADDRESSES[family]]}
        for number in (1, 2, 3)
    ]
    return {
        "schema": 1,
        "cluster": {"name": f"test-{family}", "domain": "test.example"},
        "machine": {"os": "debian", "board": "vm", "arch": "x86_64"},
        "network": {"interface": "eth0"},
        "nodes": nodes,
        "outputs": ["rootfs"],
        **sections,
    }


def _forms(cluster: Cluster) -> None:
    cluster.start()
    cluster.formed()
    assert cluster.writes(*cluster.machines)


@pytest.mark.parametrize("family", ["ipv6", "dual"])
def test_cluster_forms_on(family: str, bench: Bench, tmp_path: Path) -> None:
    """IPv6 alone, and IPv4 with IPv6: peers, clients and certificates all agree on the addresses."""
    built = bake(write_profile(tmp_path, family, _profile(family)), tmp_path)
    with bench(built) as cluster:
        _forms(cluster)
        for node in built.plan.members:
            for ip in node.ips:
                host = f"[{ip}]" if ":" in ip else ip
                assert "true" in cluster.desk.curl(f"https://{host}:2379/health")


def test_client_node_reaches_the_cluster(bench: Bench, tmp_path: Path) -> None:
    """A node with the role client runs no etcd, and its own leaf and environment open the cluster to it."""
    document = _profile("ipv4")
    nodes = document["nodes"]
    assert isinstance(nodes, list)
    nodes.append({"name": "worker", "address": ["10.78.0.20/24"], "role": "client"})
    built = bake(write_profile(tmp_path, "with-client", document), tmp_path)
    with bench(built) as cluster:
        _forms(cluster)
        worker = cluster.add("worker")
        said = worker.box.run("sh", "-c", ". /etc/profile.d/etcdctl.sh; etcdctl endpoint health 2>&1")
        assert said.decode().count("is healthy") == 3
        assert not (worker.root / "usr/local/bin/etcd").exists()


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa-2048"])
def test_cluster_forms_with_keys_of(algorithm: str, bench: Bench, tmp_path: Path) -> None:
    """Etcd and curl accept every kind of key that a profile may ask for."""
    document = _profile("ipv4", pki={"algorithm": algorithm})
    built = bake(write_profile(tmp_path, algorithm, document), tmp_path)
    with bench(built) as cluster:
        _forms(cluster)
        assert "true" in cluster.desk.curl(f"{cluster.desk.endpoint('n1')}/health")


def test_cluster_forms_under_the_users_own_intermediate(bench: Bench, tmp_path: Path) -> None:
    """An intermediate that openssl made signs the leaves; root and chain are the user's."""
    _intermediate(tmp_path)
    authority = {"certificate": "sub.crt", "key": "sub.key", "chain": "top.crt"}
    document = _profile("ipv4", pki={"authority": authority})
    built = bake(write_profile(tmp_path, "intermediate", document), tmp_path)
    with bench(built) as cluster:
        _forms(cluster)
        assert "true" in cluster.desk.curl(f"{cluster.desk.endpoint('n1')}/health")


def _intermediate(directory: Path) -> None:
    """Make a root and an intermediate below it with openssl."""
    ca = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    new += ["-days", "3650", *(word for one in ca for word in ("-addext", one))]
    run([*new, "-subj", "/CN=the top", "-keyout", directory / "top.key", "-out", directory / "top.crt"])
    above: list[str | Path] = ["-CA", directory / "top.crt", "-CAkey", directory / "top.key"]
    run([*new, *above, "-subj", "/CN=below", "-keyout", directory / "sub.key", "-out", directory / "sub.crt"])
