"""The whole lab: three cold Debian machines boot what the build wrote; minutes where there is no KVM."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from nodebake import lab, pipeline
from nodebake.errors import BuildError
from nodebake.progress import Silent
from tests.need import ROOT, missing, need

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.plan import Plan

PROFILE = """\
schema: 1
cluster: {name: lab}
machine: {os: debian, board: vm, arch: x86_64, memory: 768MiB, data: {device: LABEL=DATA}}
network: {interface: "en*"}
nodes:
  - {name: etcd-1, address: 10.77.0.11/24}
  - {name: etcd-2, address: 10.77.0.12/24}
  - {name: etcd-3, address: 10.77.0.13/24}
etcd: {version: 3.5.16, storage: ssd}
outputs: [nocloud]
"""


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    """Skip without what the lab needs."""
    if not {"CI", "NODEBAKE_LAB"} & set(os.environ):
        pytest.skip("booting clusters takes minutes; set NODEBAKE_LAB=1")
    for tool, package in (
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("qemu-img", "qemu-utils"),
        ("mmdebstrap", "mmdebstrap"),
        ("mke2fs", "e2fsprogs"),
        ("unshare", "util-linux"),
        ("ip", "iproute2"),
        ("curl", "curl"),
    ):
        need(tool, package=package)
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        missing("/dev/net/tun is not for this user")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Return the plan of three small machines with a data disk."""
    path = tmp_path_factory.mktemp("profile") / "lab.yaml"
    path.write_text(PROFILE, encoding="utf-8")
    return pipeline.resolve(str(path))


@pytest.fixture(scope="module")
def built(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a build of the plan."""
    home = tmp_path_factory.mktemp("lab")
    options = pipeline.Options(
        out=home / "b", vault=home / "vault", lock=ROOT / "sources.lock", cache=ROOT / "cache"
    )
    pipeline.build(plan, options=options, progress=Silent(), ask=None)
    return options.out


def options(built: Path, scenario: str, *, patience: float = 900) -> lab.Options:
    """Return what a run is told."""
    return lab.Options(
        out=built,
        lock=ROOT / "sources.lock",
        cache=ROOT / "cache",
        scenario=scenario,
        patience=patience,
    )


def verdict(built: Path) -> tuple[str, list[str]]:
    """Return the report's verdict and the names of the checks that failed."""
    told = json.loads((built / "lab/report.json").read_text(encoding="utf-8"))
    return told["verdict"], [check["name"] for check in told["checks"] if not check["passed"]]


def _when_asked_for(scenario: str) -> pytest.ParameterSet:
    """Return a scenario that CI leaves out: each takes minutes under emulation."""
    asked = pytest.mark.skipif("NODEBAKE_LAB" not in os.environ, reason="takes minutes; set NODEBAKE_LAB=1")
    return pytest.param(scenario, marks=asked)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "scenario",
    [
        "cold",
        *map(_when_asked_for, ("cold,partition,power-cut,node-loss", "staggered", "no-clock")),
        *map(_when_asked_for, ("no-data-disk", "wrong-card")),
    ],
)
def test_the_cluster_gets_through(plan: Plan, built: Path, scenario: str) -> None:
    """Every scenario's checks hold, and its report is there for people, too."""
    lab.boot(plan, options=options(built, scenario), progress=Silent())
    page = (built / "lab/report.html").read_text(encoding="utf-8")
    assert (("passed", []), True) == (verdict(built), f"{plan.name}: {scenario}" in page)


@pytest.mark.timeout(600)
def test_a_cluster_that_never_says_it_is_healthy_has_failed(plan: Plan, built: Path) -> None:
    """Silence is failure: the error has every console's last lines, and the report says the same."""
    with pytest.raises(BuildError) as error:
        lab.boot(plan, options=options(built, "no-clock", patience=3), progress=Silent())
    names = [node.name for node in plan.nodes if f"{node.name}.console.log" in str(error.value)]
    assert (["etcd-1", "etcd-2", "etcd-3"], "failed") == (names, verdict(built)[0])
