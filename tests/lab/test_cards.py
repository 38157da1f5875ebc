"""Whole images in machines: started by their own boot loader, grown, and back after a power cut.

Those of `pi3` are in `test_pi`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import k3s_stub
from tests.lab.clusters import Cluster, assert_whole_images, images, need_lab, when_asked_for
from tests.lab.standin.release import release
from tests.need import need

if TYPE_CHECKING:
    from pathlib import Path

# Less memory, where the emulator leaves the choice; and a stub in the place of k3s.
_CHANGES = {
    "vm-alpine": "machine: {memory: 512MiB}",
    "pi3-debian": "",
    "pi3-k3s": f"k3s: {{version: {k3s_stub.VERSION}}}",
}
_PI = {"qemu-system-aarch64": "qemu-system-arm", "fdtget": "device-tree-compiler"}
_TOOLS = {
    "vm-alpine": {"qemu-system-x86_64": "qemu-system-x86", "syslinux": "syslinux"},
    "pi3-debian": {**_PI, "mmdebstrap": "mmdebstrap", "qemu-aarch64-static": "qemu-user-static"},
    "pi3-k3s": _PI,
}
_RELEASES = {"vm-alpine": ("x86_64", "virt"), "pi3-k3s": ("aarch64", "rpi")}


def _images(home: Path, profile: str) -> Cluster:
    """Write whole images for the nodes of a profile that we ship."""
    need_lab(**_TOOLS[profile])
    for tool, package in (("sfdisk", "fdisk"), ("debugfs", "e2fsprogs")):
        need(tool, package=package)
    own = home / "own.yaml"
    own.write_text(f"schema: 1\nextends: {profile}\n{_CHANGES[profile]}\n", encoding="utf-8")
    return images(home, str(own), base=release(*_RELEASES[profile]) if profile in _RELEASES else None)


# `power-cut` begins with a start that has to end in a healthy cluster. Debian's base takes minutes to make.
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("profile", "scenario"),
    [
        when_asked_for("vm-alpine", "power-cut"),
        when_asked_for("pi3-debian", "cold"),
        when_asked_for("pi3-k3s", "cold"),
    ],
)
def test_images_keep_what_they_are_told(tmp_path: Path, profile: str, scenario: str) -> None:
    """Healthy, nothing lost; the data lies on the last partition, which has grown to the disk's end."""
    cluster = _images(tmp_path, profile)
    cluster.boot(scenario)
    assert ("passed", []) == cluster.verdict()
    assert_whole_images(cluster)
    if profile == "pi3-debian":
        consoles = [path.read_text(encoding="utf-8") for path in (cluster.out / "lab").glob("*.console.log")]
        checked = [{name for name in ("ROOT", "DATA") if f"{name}: clean" in told} for told in consoles]
        assert [{"ROOT", "DATA"}] * 3 == checked
