"""How nodes start: apart, without their data, and beside an etcd that is not theirs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from nodebake.errors import BuildError
from tests.cluster.built import Built, bake, write_profile
from tests.cluster.unit import Systemd
from tests.patience import still, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.cluster.cluster import Cluster

    Bench = Callable[[Built], AbstractContextManager[Cluster]]

APART = 30  # seconds; the third node comes a minute after the first


def test_nodes_started_a_minute_apart_form_the_cluster(shipped: Callable[[str], Built], bench: Bench) -> None:
    """A node waits for its peers without ending, and says READY=1 only when there is a quorum."""
    with bench(shipped("vm")) as cluster:
        services = []
        for node in cluster.built.plan.members:
            service = cluster.add(node.name).service
            assert isinstance(service, Systemd)
            service.start()
            services.append(service)
            if len(services) == 1:
                still("the first waits", lambda: not services[0].crashed(), seconds=APART)
                assert not services[0].ready()
            elif len(services) == 2:
                until("READY=1 at quorum", services[0].ready)
                still("two wait for the third", lambda: not services[1].crashed(), seconds=APART)
        cluster.formed()


@pytest.mark.parametrize("profile", ["pi3", "vm-with-data"])
def test_etcd_refuses_to_start_without_its_data_partition(
    profile: str, shipped: Callable[[str], Built], bench: Bench, tmp_path: Path
) -> None:
    """Without the partition nothing is started and nothing is written to what a reboot forgets."""
    built = shipped(profile) if profile == "pi3" else bake(_with_data(tmp_path), tmp_path)
    with bench(built) as cluster:
        machine = cluster.add(built.plan.members[0].name, data=False)
        with pytest.raises(BuildError, match="no file system is mounted on /data"):
            machine.service.start()
        assert not machine.service.alive()
        assert not (machine.root / "data" / "etcd").exists()


def test_etcd_starts_with_its_data_partition(bench: Bench, tmp_path: Path) -> None:
    """The same node with the partition mounted starts, and keeps its data there."""
    built = bake(_with_data(tmp_path), tmp_path)
    with bench(built) as cluster:
        for node in built.plan.members[:2]:
            cluster.add(node.name).service.start()
        machine = cluster.machines[built.plan.members[0].name]
        until("etcd writes to /data", lambda: machine.box.run("ls", "/data/etcd/member"))


def test_etcd_of_another_vault_stays_out(
    shipped: Callable[[str], Built], bench: Bench, tmp_path: Path
) -> None:
    """A node baked from the same profile with other secrets is no member, and does the others no harm."""
    built, foreign = shipped("vm"), bake("vm", tmp_path)
    third = built.plan.members[2].name
    with bench(built) as cluster:
        cluster.add(third, build=foreign).service.start()
        for node in built.plan.members[:2]:
            cluster.add(node.name).service.start()
        _stays_out(cluster, third, "unknown authority|bad certificate|certificate signed by")


def test_etcd_of_another_token_founds_nothing_with_the_others(
    shipped: Callable[[str], Built], bench: Bench
) -> None:
    """Two nodes with the same authority and two tokens are not a majority of anything."""
    built = shipped("vm")
    first, second, third = (node.name for node in built.plan.members)
    with bench(built) as cluster:
        machine = cluster.add(second)
        for name in ("conf.yml", "rehearsal.yml"):
            config = machine.root / "etc/etcd" / name
            settings = yaml.safe_load(config.read_text())
            config.write_text(json.dumps(settings | {"initial-cluster-token": "etcd-cluster"}))
        machine.service.start()
        cluster.add(first).service.start()
        until("the second is told", lambda: _says(machine.service.log(), "cluster ID mismatch"))
        still("no cluster is founded", lambda: not _founded(cluster, first, second), seconds=APART)
        cluster.add(third).service.start()
        until("the first and the third found it", lambda: cluster.writes(first, third), seconds=120)


def _founded(cluster: Cluster, *names: str) -> bool:
    return any((cluster.machines[name].root / "var/lib/etcd/member").exists() for name in names)


def _stays_out(cluster: Cluster, third: str, reason: str) -> None:
    insiders = [node.name for node in cluster.built.plan.members if node.name != third]
    until("the two others form the cluster", lambda: cluster.writes(*insiders), seconds=120)
    stranger = cluster.machines[third]
    until(f"the third is told: {reason}", lambda: _says(stranger.service.log(), reason))
    ready = stranger.box.run("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:2381/livez")
    assert ready.strip() == b"ok"
    with pytest.raises(BuildError):
        stranger.box.run("busybox", "wget", "-q", "-T", "15", "-O", "-", "http://127.0.0.1:2381/readyz")
    assert cluster.writes(*insiders)


def _says(log: str, reason: str) -> bool:
    return any(word in log for word in reason.split("|"))


def _with_data(directory: Path) -> Path:
    document = {
        "schema": 1,
        "extends": "vm",
        "cluster": {"name": "with-data"},
        "machine": {"data": {"device": "LABEL=DATA"}},
    }
    return write_profile(directory, "vm-with-data", document)
