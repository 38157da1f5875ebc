"""Whole cards that `./invoke image` wrote, each in an emulated Raspberry Pi as it would be in a real one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.command import run
from nodebake.lab import pi
from nodebake.lab.bootfs import boot_files
from nodebake.lab.hardware import Drive, Hardware

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.manifest import Manifest
    from nodebake.plan import NodePlan, Plan

_KIND, _RELEASE = "image", ".alpine-release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The cards of one build.

    Attributes:
        paths: by node, below the build's directory.
        version: which Alpine is on them.
        floor: there is none for a Pi.
    """

    paths: Mapping[str, str]
    version: str
    floor: Path | None = None

    def hardware(
        self, plan: Plan, node: NodePlan, *, artefacts: Path, work: Path, label: str = ""
    ) -> Hardware:
        """Return the machine with a copy of the node's card; what is empty on it takes no room."""
        card = work / f"{label or node.name}.img"
        run(["cp", "--sparse=always", artefacts / self.paths[node.name], card])
        return pi.hardware(Drive(path=card, role="system", holds_data=plan.profile.machine.data is not None))


def of(manifest: Manifest, artefacts: Path) -> Images | None:
    """Return the cards of a build; None if it wrote none for some of its nodes.

    Raises:
        BuildError: one cannot be read.
    """
    paths = {
        name: item.path for name, items in manifest.nodes.items() for item in items if item.kind == _KIND
    }
    if not paths or len(paths) != len(manifest.nodes):
        return None
    files = boot_files(artefacts / next(iter(paths.values())))
    version = files.read(_RELEASE).decode().strip() if _RELEASE in files else "unknown"
    return Images(paths=paths, version=f"Alpine {version}, whole images")
