"""The whole lab: three cold Debian machines boot what the build wrote; minutes where there is no KVM."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from nodebake.errors import BuildError
from tests.lab.clusters import Cluster, build, need_lab, when_asked_for

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Cluster]:
    """Return a function that gives three machines under Debian, with a component besides etcd if named."""
    need_lab(**{"qemu-system-x86_64": "qemu-system-x86", "mmdebstrap": "mmdebstrap"})
    return cache(lambda component: build(tmp_path_factory.mktemp("lab"), "debian", component=component))


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("component", "scenario"),
    [
        ("", "cold,partition,node-loss"),
        ("flannel", "staggered,power-cut"),
        ("log", "no-clock"),
        ("", "no-data-disk,wrong-card"),
        when_asked_for("k3s", "power-cut"),
    ],
)
def test_the_cluster_gets_through(cluster: Callable[[str], Cluster], component: str, scenario: str) -> None:
    """Every scenario's checks hold, and its report is there for people, too."""
    made = cluster(component)
    made.boot(scenario)
    page = (made.out / "lab/report.html").read_text(encoding="utf-8")
    assert (("passed", []), True) == (made.verdict(), f"{made.plan.name}: {scenario}" in page)
    if scenario.startswith("cold"):
        assert_cold(made)


def assert_cold(made: Cluster) -> None:
    """See that the floor was measured twice, and that systemd has read the payload's additions to its units.

    They are laid out after it has started, and no reload follows: with them fsck.ext4 checks the data by
    itself, and without them systemd-fsck does.
    """
    assert len(made.report()["floor"]["runs"]) == 2
    logs = [made.out / f"lab/{node.name}.console.log" for node in made.plan.nodes]
    assert [True] * 3 == ["fsck.ext4[" in log.read_text(errors="replace") for log in logs]


@pytest.mark.timeout(600)
def test_a_cluster_that_never_says_it_is_healthy_has_failed(cluster: Callable[[str], Cluster]) -> None:
    """Silence is failure: the error has every console's last lines, and the report says the same."""
    made = cluster("")
    with pytest.raises(BuildError) as error:
        made.boot("no-clock", patience=3)
    names = [node.name for node in made.plan.nodes if f"{node.name}.console.log" in str(error.value)]
    assert (["etcd-1", "etcd-2", "etcd-3"], "failed") == (names, made.verdict()[0])
