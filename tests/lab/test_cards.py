"""Whole images in machines: started by their own boot loader, grown, and back after a power cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nodebake import pipeline
from nodebake.progress import Silent
from tests.lab.clusters import Cluster, need_lab, when_asked_for
from tests.lab.standin.release import release
from tests.need import ROOT, need

if TYPE_CHECKING:
    from pathlib import Path

_SMALL = "schema: 1\nextends: {profile}\nmachine: {{memory: 512MiB}}\n"
_PI = {"qemu-system-aarch64": "qemu-system-arm", "fdtget": "device-tree-compiler"}
_TOOLS = {
    "vm-alpine": {"qemu-system-x86_64": "qemu-system-x86", "syslinux": "syslinux"},
    "pi3": _PI,
    "pi3-debian": {**_PI, "mmdebstrap": "mmdebstrap", "qemu-aarch64-static": "qemu-user-static"},
}
_RELEASES = {"vm-alpine": ("x86_64", "virt"), "pi3": ("aarch64", "rpi")}


def _images(home: Path, profile: str) -> Cluster:
    """Write whole images for the nodes of a profile that we ship."""
    need_lab(**_TOOLS[profile])
    for tool, package in (("sfdisk", "fdisk"), ("debugfs", "e2fsprogs")):
        need(tool, package=package)
    name = profile
    if profile == "vm-alpine":
        (home / "small.yaml").write_text(_SMALL.format(profile=profile), encoding="utf-8")
        name = str(home / "small.yaml")
    plan = pipeline.resolve(name)
    options = pipeline.Options(
        out=home / "b",
        vault=home / "vault",
        lock=ROOT / "sources.lock",
        cache=ROOT / "cache",
        base=release(*_RELEASES[profile]) if profile in _RELEASES else None,
    )
    pipeline.image(plan, options=options, progress=Silent(), ask=None)
    return Cluster(plan=plan, out=options.out)


# `power-cut` begins with a start that has to end in a healthy cluster. Debian's base takes minutes to make.
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("profile", "scenario"),
    [
        when_asked_for("vm-alpine", "power-cut"),
        when_asked_for("pi3", "power-cut"),
        when_asked_for("pi3-debian", "cold"),
    ],
)
def test_images_keep_what_they_are_told(tmp_path: Path, profile: str, scenario: str) -> None:
    """Healthy, nothing lost; the data lies on the last partition, which has grown to the disk's end."""
    cluster = _images(tmp_path, profile)
    cluster.boot(scenario)
    told = json.loads((cluster.out / "lab/report.json").read_text(encoding="utf-8"))
    names = {check["name"].partition("'s ")[2] for check in told["checks"]}
    assert ("passed", []) == cluster.verdict()
    assert "whole images" in told["versions"]["guest"]
    assert {"data partition takes the rest of its disk", "data is on it"} <= names
