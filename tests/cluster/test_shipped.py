"""What we ship, running: real etcd from the artefacts of every profile in `profiles/`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from tests.cluster.unit import Systemd
from tests.patience import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.cluster import Cluster


SHIPPED = ("pi3", "vm", "manual-k8s", "systemd-tls", "kubeasz", "flannel")
UID = 2379

every = pytest.mark.parametrize("running", SHIPPED, indirect=True)


@every
def test_members_are_those_of_the_profile(running: Cluster) -> None:
    """`member list` has every member with the addresses of the plan, and nobody else."""
    port = running.built.plan.profile.etcd.peer_port
    expected = {
        node.name: ([f"https://{node.url_host}:{port}"], running.desk.endpoint(node.name))
        for node in running.built.plan.members
    }
    actual = {one["name"]: (one["peerURLs"], one["clientURLs"][0]) for one in running.desk.members()}
    assert expected == actual


@every
def test_what_is_put_through_one_member_is_got_from_all(running: Cluster) -> None:
    """A key written through any member is read through that member, and so through all."""
    assert running.writes(*running.machines)


@every
def test_health_answers_the_operator(running: Cluster) -> None:
    """`/health` says so to curl with the operator's certificate, on every member."""
    for name in running.machines:
        answer = json.loads(running.desk.curl(f"{running.desk.endpoint(name)}/health"))
        assert answer["health"] == "true"


@every
def test_etcd_runs_as_its_own_user(running: Cluster) -> None:
    """Nothing of etcd runs as root."""
    for machine in running.machines.values():
        owners = {os.stat(f"/proc/{pid}").st_uid for pid in machine.service.processes()}  # noqa: PTH116 - a process
        assert owners == {UID}


@every
def test_the_operators_environment_names_every_member(running: Cluster) -> None:
    """Without `--cluster`, the sourced environment alone reaches every member."""
    answers = json.loads(running.desk.etcdctl("endpoint", "health", "--write-out=json"))
    assert {one["endpoint"] for one in answers} == {running.desk.endpoint(name) for name in running.machines}


@every
def test_shared_name_is_accepted(running: Cluster) -> None:
    """The cluster's shared names are in every member's certificate."""
    port = running.built.plan.profile.etcd.client_port
    for name in running.built.plan.shared_names:
        for node in running.built.plan.members:
            there = ["--connect-to", f"{name}:{port}:{node.url_host}:{port}"]
            assert "true" in running.desk.curl(f"https://{name}:{port}/health", *there)


@every
def test_shared_name_resolves_on_every_node(running: Cluster) -> None:
    """The system's own resolver knows the shared names as members' addresses, without any DNS server."""
    plan = running.built.plan
    members = {ip for node in plan.members for ip in node.ips}
    for machine in running.machines.values():
        for name in plan.shared_names:
            told = machine.box.run("getent", "hosts", name).decode().split()
            assert told[0] in members
            assert name in told[1:]


@every
@pytest.mark.parametrize("stranger", ["no certificate", "another authority", "plaintext", "peer port"])
def test_stranger_is_refused(running: Cluster, stranger: str, tmp_path: Path) -> None:
    """Who has no certificate of the cluster's authority gets no answer from any member."""
    plan, authority = running.built.plan, str(running.built.operator / "ca.crt")
    curl = ["curl", "--silent", "--show-error", "--fail", "--max-time", "10", "--cacert", authority]
    for node in plan.members:
        client = f"{node.url_host}:{plan.profile.etcd.client_port}"
        words = {
            "no certificate": [f"https://{client}/health"],
            "another authority": [*_forged(tmp_path), f"https://{client}/health"],
            "plaintext": [f"http://{client}/health"],
            "peer port": [f"https://{node.url_host}:{plan.profile.etcd.peer_port}/members"],
        }[stranger]
        said = running.refused(*curl, *words)
        assert "health" not in said.splitlines()[-1]
        assert "timed out" not in said
    assert running.desk.healthy()


@every
def test_node_reaches_the_cluster_with_its_own_environment(running: Cluster) -> None:
    """A login shell on a node has all that etcdctl needs."""
    for machine in running.machines.values():
        said = machine.box.run("sh", "-c", ". /etc/profile.d/etcdctl.sh; etcdctl endpoint health 2>&1")
        assert said.decode().count("is healthy") == len(running.built.plan.members)


@every
def test_writes_go_on_without_a_killed_member(running: Cluster) -> None:
    """One member killed outright: the others serve; it comes back and has what it missed."""
    lost, *others = running.machines
    service = running.machines[lost].service
    service.kill()
    until("a new leader takes writes", lambda: running.writes(*others, key="while-away", value=lost))
    service.back()
    running.formed()
    through = {"ETCDCTL_ENDPOINTS": running.desk.endpoint(lost)}
    assert running.desk.etcdctl("get", "while-away", "--print-value-only", env=through) == f"{lost}\n"


@every
def test_data_outlives_a_restart_of_all(running: Cluster) -> None:
    """All members stopped and started: the same cluster, with its data."""
    running.writes(*running.machines, key="kept", value="yes")
    before = {one["ID"] for one in running.desk.members()}
    for machine in running.machines.values():
        machine.service.stop()
        assert not machine.service.alive()
    for machine in running.machines.values():
        machine.service.start()
    running.formed()
    assert running.desk.etcdctl("get", "kept", "--print-value-only") == "yes\n"
    assert {one["ID"] for one in running.desk.members()} == before


@pytest.mark.parametrize("running", ["vm"], indirect=True)
def test_member_tells_systemd_that_it_is_ready(running: Cluster) -> None:
    """The unit's Type=notify gets its READY=1 once the cluster has a quorum."""
    for machine in running.machines.values():
        assert isinstance(machine.service, Systemd)
        assert machine.service.one("Type", "simple") == "notify"
        until("READY=1 arrives", machine.service.ready)


def _forged(directory: Path) -> list[str]:
    key, certificate = directory / "forged.key", directory / "forged.crt"
    if not certificate.exists():
        argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        run([*argv, "-subj", "/CN=root", "-days", "2", "-keyout", key, "-out", certificate])
    return ["--cert", str(certificate), "--key", str(key)]
