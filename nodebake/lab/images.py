"""Whole cards and disks that `./invoke image` wrote, each started as it would be in a real machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.command import run
from nodebake.components.base import BasePart
from nodebake.lab import further, pi
from nodebake.lab.bootfs import boot_files
from nodebake.lab.hardware import Drive, Hardware, larger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.manifest import Manifest
    from nodebake.plan import NodePlan, Plan

_KIND, _RELEASE = "image", ".alpine-release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The cards or disks of one build.

    Attributes:
        paths: by node, below the build's directory.
        version: which system is on them.
        kind: of the artefact that a machine boots.
        floor: there is none.
    """

    paths: Mapping[str, str]
    version: str
    kind: str = _KIND
    floor: Path | None = None

    def hardware(
        self, plan: Plan, node: NodePlan, *, artefacts: Path, work: Path, label: str = ""
    ) -> Hardware:
        """Return the machine with a copy of the node's image on a larger disk, where holes take no room."""
        name = label or node.name
        disk = work / f"{name}.img"
        run(["cp", "--sparse=always", artefacts / self.paths[node.name], disk])
        drive = Drive(path=disk, role="system", holds_data=plan.part(BasePart).grown)
        others = further.drives(plan, node, work=work, name=name)
        if plan.board.firmware:
            return pi.hardware(drive, *others)
        larger(disk)
        return Hardware(kind="q35", memory=plan.memory, append="", drives=(drive, *others))


def of(manifest: Manifest, artefacts: Path) -> Images | None:
    """Return the images of a build; None if it wrote none for some of its nodes.

    Raises:
        BuildError: one cannot be read.
    """
    paths = {
        name: item.path for name, items in manifest.nodes.items() for item in items if item.kind == _KIND
    }
    if not paths or len(paths) != len(manifest.nodes):
        return None
    files = boot_files(artefacts / next(iter(paths.values())))
    if _RELEASE in files:
        version = f"Alpine {files.read(_RELEASE).decode().strip()}"
    else:
        version = next((f"Debian {one.version}" for one in manifest.inputs if one.name == "debian"), "?")
    return Images(paths=paths, version=f"{version}, whole images")
