"""Whole images in machines: started by their own boot loader, grown, and back after a power cut.

The Pi's own, with Alpine, are in `test_pi`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodebake import pipeline
from nodebake.progress import Silent
from tests.lab.clusters import Cluster, assert_whole_images, need_lab, when_asked_for
from tests.lab.standin.release import release
from tests.need import ROOT, need

if TYPE_CHECKING:
    from pathlib import Path

_SMALL = "schema: 1\nextends: {profile}\nmachine: {{memory: 512MiB}}\n"
_TOOLS = {
    "vm-alpine": {"qemu-system-x86_64": "qemu-system-x86", "syslinux": "syslinux"},
    "pi3-debian": {
        "qemu-system-aarch64": "qemu-system-arm",
        "fdtget": "device-tree-compiler",
        "mmdebstrap": "mmdebstrap",
        "qemu-aarch64-static": "qemu-user-static",
    },
}


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
        base=release("x86_64", "virt") if profile == "vm-alpine" else None,
    )
    pipeline.image(plan, options=options, progress=Silent(), ask=None)
    return Cluster(plan=plan, out=options.out)


# `power-cut` begins with a start that has to end in a healthy cluster. Debian's base takes minutes to make.
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("profile", "scenario"),
    [
        when_asked_for("vm-alpine", "power-cut"),
        when_asked_for("pi3-debian", "cold"),
    ],
)
def test_images_keep_what_they_are_told(tmp_path: Path, profile: str, scenario: str) -> None:
    """Healthy, nothing lost; the data lies on the last partition, which has grown to the disk's end."""
    cluster = _images(tmp_path, profile)
    cluster.boot(scenario)
    assert ("passed", []) == cluster.verdict()
    assert_whole_images(cluster)
