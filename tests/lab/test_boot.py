"""The whole lab: three cold Debian machines boot what the build wrote; minutes where there is no KVM."""

from __future__ import annotations

import pytest

from nodebake.errors import BuildError
from tests.lab.clusters import Cluster, build, need_lab


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Return three machines under Debian."""
    need_lab(**{"qemu-system-x86_64": "qemu-system-x86", "mmdebstrap": "mmdebstrap"})
    return build(tmp_path_factory.mktemp("lab"), "debian")


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "scenario", ["cold,partition,power-cut,node-loss", "staggered", "no-clock", "no-data-disk,wrong-card"]
)
def test_the_cluster_gets_through(cluster: Cluster, scenario: str) -> None:
    """Every scenario's checks hold, and its report is there for people, too."""
    cluster.boot(scenario)
    page = (cluster.out / "lab/report.html").read_text(encoding="utf-8")
    assert (("passed", []), True) == (cluster.verdict(), f"{cluster.plan.name}: {scenario}" in page)


@pytest.mark.timeout(600)
def test_a_cluster_that_never_says_it_is_healthy_has_failed(cluster: Cluster) -> None:
    """Silence is failure: the error has every console's last lines, and the report says the same."""
    with pytest.raises(BuildError) as error:
        cluster.boot("no-clock", patience=3)
    names = [node.name for node in cluster.plan.nodes if f"{node.name}.console.log" in str(error.value)]
    assert (["etcd-1", "etcd-2", "etcd-3"], "failed") == (names, cluster.verdict()[0])
