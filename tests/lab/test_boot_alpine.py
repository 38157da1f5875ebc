"""Alpine with OpenRC, cold: the overlays of a build on a stand-in for Alpine's release."""

from __future__ import annotations

import os

import pytest

from tests.lab.clusters import Cluster, build, need_lab, when_asked_for
from tests.lab.standin.release import release


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Return three x86_64 machines under Alpine."""
    need_lab(**{"qemu-system-x86_64": "qemu-system-x86", "syslinux": "syslinux"})
    return build(tmp_path_factory.mktemp("lab"), "alpine", base=release("x86_64", "virt"))


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "scenario",
    [
        *("cold,power-cut", "no-clock", "staggered"),
        *map(when_asked_for, ("cold,partition,node-loss", "no-data-disk,wrong-card")),
    ],
)
def test_the_cluster_gets_through(cluster: Cluster, scenario: str) -> None:
    """Every scenario's checks hold."""
    cluster.boot(scenario)
    assert ("passed", []) == cluster.verdict()


@pytest.mark.timeout(3000)
@pytest.mark.skipif("NODEBAKE_LAB" not in os.environ, reason="takes minutes; set NODEBAKE_LAB=1")
def test_the_cluster_gets_through_on_arm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same on aarch64, in QEMU's own machine."""
    need_lab(**{"qemu-system-aarch64": "qemu-system-arm"})
    home = tmp_path_factory.mktemp("lab")
    cluster = build(home, "alpine", arch="aarch64", base=release("aarch64", "virt"))
    cluster.boot("cold")
    assert ("passed", []) == cluster.verdict()
