"""What changed of a running node's files, `<node>.renewal.tar.gz`, with the script that lays it over.

tar -C /run -xzf <node>.renewal.tar.gz && sh /run/nodebake-renewal/apply
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.formats.packing import gzip_member, pack
from nodebake.formats.writing import artifact, private
from nodebake.overlay import render
from nodebake.tree import Tree, directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nodebake.manifest import Artifact
    from nodebake.plan import NodePlan, Plan

KIND = "renewal"
_TOP = "nodebake-renewal"


def write(
    plan: Plan, node: NodePlan, files: Tree, *, restart: Sequence[str], out: Path, epoch: int
) -> Artifact:
    """Write the archive of what changed on one node.

    Args:
        plan: the cluster.
        node: whose files.
        files: by their place on the node.
        restart: services that read such files only when they start.
        out: the build's directory.
        epoch: modification time of every entry, and what decides whether a baked file is newer.

    Raises:
        BuildError: writing failed.
    """
    values = {
        "cluster": plan.profile.cluster.name,
        "node": node.name,
        "epoch": epoch,
        "restart": tuple(restart),
    }
    script = render(KIND, ("any",), values).items()
    entries = {f"{_TOP}/{path}": entry for path, entry in script}
    entries |= {f"{_TOP}/files/{path}": entry for path, entry in files.items()}
    tree = Tree({**entries, _TOP: directory(0o700)})
    path = private(out / node.name) / f"{node.name}.renewal.tar.gz"
    return artifact(KIND, path, gzip_member(pack(tree, epoch)), root=out, epoch=epoch)
