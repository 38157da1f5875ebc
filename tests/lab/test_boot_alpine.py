"""Alpine with OpenRC, cold: the overlays of a build on a stand-in for Alpine's release."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.lab.clusters import Cluster, build, need_lab, when_asked_for
from tests.lab.standin.release import release

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Cluster]:
    """Return a function that gives three machines under Alpine, with a component besides etcd if named."""
    need_lab(**{"qemu-system-x86_64": "qemu-system-x86", "syslinux": "syslinux"})
    base = release("x86_64", "virt")
    return cache(
        lambda component: build(tmp_path_factory.mktemp("lab"), "alpine", component=component, base=base)
    )


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("component", "scenario"),
    [
        ("", "cold,power-cut"),
        ("log", "no-clock"),
        ("flannel", "staggered,power-cut"),
        *(
            when_asked_for("", scenario)
            for scenario in ("cold,partition,node-loss", "no-data-disk,wrong-card")
        ),
        when_asked_for("k3s", "power-cut"),
    ],
)
def test_the_cluster_gets_through(cluster: Callable[[str], Cluster], component: str, scenario: str) -> None:
    """Every scenario's checks hold."""
    made = cluster(component)
    made.boot(scenario)
    assert ("passed", []) == made.verdict()


@pytest.mark.timeout(3000)
@pytest.mark.skipif("NODEBAKE_LAB" not in os.environ, reason="takes minutes; set NODEBAKE_LAB=1")
def test_the_cluster_gets_through_on_arm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same on aarch64, in QEMU's own machine."""
    need_lab(**{"qemu-system-aarch64": "qemu-system-arm"})
    home = tmp_path_factory.mktemp("lab")
    cluster = build(home, "alpine", arch="aarch64", base=release("aarch64", "virt"))
    cluster.boot("cold")
    assert ("passed", []) == cluster.verdict()
