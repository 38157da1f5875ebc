"""Three small machines with a data partition, built and ready to be booted; for the tests of the lab."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from nodebake import lab, pipeline
from nodebake.components import flannel
from nodebake.components.k3s import K3sPart
from nodebake.progress import Silent
from tests import k3s_stub
from tests.need import CACHE, ROOT, missing, need, need_input

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.plan import Plan

_PROFILE = """\
schema: 1
cluster: {{name: lab}}
machine: {{os: {os}, board: vm, arch: {arch}, memory: {memory}, data: {{device: LABEL=DATA}}}}
network: {{interface: "{interface}"}}
nodes:
  - {{name: etcd-1, address: 10.77.0.11/24}}
  - {{name: etcd-2, address: 10.77.0.12/24}}
  - {{name: etcd-3, address: 10.77.0.13/24}}
etcd: {{version: 3.5.16, storage: ssd, wal_device: {log}}}
outputs: [{output}]
{more}
"""
# What a boot has besides etcd: a line of its profile. With `log` it is a disk of its own for etcd's log.
_COMPONENTS = {
    "": "",
    "log": "",
    "flannel": "flannel: {}",
    "k3s": f"k3s: {{version: {k3s_stub.VERSION}, servers: [etcd-1, etcd-2], agents: [etcd-3]}}",
}
# k3s has to be told the very interface: Debian names it by its place, which comes after those of three disks.
_INTERFACES = {("debian", "k3s"): "enp0s4"}
_SYSTEMS = {
    "debian": {"memory": "768MiB", "interface": "en*", "output": "nocloud"},
    "alpine": {"memory": "512MiB", "interface": "eth0", "output": "apkovl"},
}
_TOOLS = {
    "curl": "curl",
    "ip": "iproute2",
    "mcopy": "mtools",
    "mke2fs": "e2fsprogs",
    "ping": "iputils-ping",
    "qemu-img": "qemu-utils",
    "unshare": "util-linux",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A build, and what its machines boot from.

    Attributes:
        plan: the cluster.
        out: the build's directory.
        base: a release of the operating system, where one is needed.
    """

    plan: Plan
    out: Path
    base: Path | None = None

    def boot(self, scenario: str, *, patience: float = 900) -> None:
        """Play a scenario."""
        options = lab.Options(
            out=self.out,
            lock=ROOT / "sources.lock",
            cache=CACHE,
            base=self.base,
            scenario=scenario,
            patience=patience,
        )
        lab.boot(self.plan, options=options, progress=Silent())

    def report(self) -> dict[str, Any]:
        """Return what `report.json` says."""
        told: dict[str, Any] = json.loads((self.out / "lab/report.json").read_text(encoding="utf-8"))
        return told

    def verdict(self) -> tuple[str, list[str]]:
        """Return the report's verdict and the names of the checks that failed."""
        told = self.report()
        return told["verdict"], [check["name"] for check in told["checks"] if not check["passed"]]

    def booted(self, kind: str) -> bool:
        """Say whether the report has the digests of the artefacts of a kind, as the manifest has them."""
        manifest = json.loads((self.out / "manifest.json").read_text(encoding="utf-8"))
        made = [
            (name, one["sha256"])
            for name, node in manifest["nodes"].items()
            for one in node["artifacts"]
            if one["kind"] == kind
        ]
        return made == [(node["name"], node["digest"]) for node in self.report()["nodes"]]


def build(
    home: Path, system: str, *, component: str = "", arch: str = "x86_64", base: Path | None = None
) -> Cluster:
    """Build a cluster in the directory `home`, with one component besides etcd if that is named."""
    settings = {**_SYSTEMS[system], "arch": arch, "more": _COMPONENTS[component]}
    settings["log"] = "LABEL=WAL" if component == "log" else "null"
    settings["interface"] = _INTERFACES.get((system, component), settings["interface"])
    (home / "lab.yaml").write_text(_PROFILE.format(os=system, **settings), encoding="utf-8")
    plan = pipeline.resolve(str(home / "lab.yaml"))
    if component == "flannel":
        for want in flannel.wants(plan):
            need_input(want)
    made = options(home, plan)
    pipeline.build(plan, options=made, progress=Silent(), ask=None)
    return Cluster(plan=plan, out=made.out, base=base)


def images(home: Path, profile: str, *, base: Path | None = None) -> Cluster:
    """Write whole images for a profile's nodes in the directory `home`."""
    plan = pipeline.resolve(profile)
    made = options(home, plan, base=base)
    pipeline.image(plan, options=made, progress=Silent(), ask=None)
    return Cluster(plan=plan, out=made.out)


def options(home: Path, plan: Plan, *, base: Path | None = None) -> pipeline.Options:
    """Return the options of a build in `home`; in the place of k3s is a stub."""
    stubs = k3s_stub.stubbed(home, plan.arch) if plan.has(K3sPart) else None
    return pipeline.Options(
        out=home / "b",
        vault=home / "vault",
        lock=stubs.lock if stubs else ROOT / "sources.lock",
        cache=CACHE,
        mirror=stubs.mirror if stubs else None,
        base=base,
    )


def assert_whole_images(cluster: Cluster) -> None:
    """See that a run was one of whole images: their digests are told, and data is on a grown partition."""
    told = cluster.report()
    names = {check["name"].partition("'s ")[2] for check in told["checks"]}
    assert cluster.booted("image")
    assert "whole images" in told["versions"]["guest"]
    assert {"data partition takes the rest of its disk", "data is on it"} <= names


def need_lab(**more: str) -> None:
    """Skip a test that boots machines unless it is asked for, and without what the lab needs."""
    if not {"CI", "NODEBAKE_LAB"} & set(os.environ):
        pytest.skip("booting clusters takes minutes; set NODEBAKE_LAB=1")
    for tool, package in {**_TOOLS, **more}.items():
        need(tool, package=package)
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        missing("/dev/net/tun is not for this user")


def when_asked_for(*values: str) -> pytest.ParameterSet:
    """Return a scenario, or more values of a test, that CI leaves out: each takes minutes under emulation."""
    asked = pytest.mark.skipif("NODEBAKE_LAB" not in os.environ, reason="takes minutes; set NODEBAKE_LAB=1")
    return pytest.param(*values, marks=asked)
