"""A tree to lay over a root file system, `<node>.rootfs.tar.zst`: `tar --zstd -C root -xpf`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.formats.packing import Shared, compress, pack
from nodebake.formats.writing import artifact

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.components.contract import Baked
    from nodebake.manifest import Artifact
    from nodebake.plan import NodePlan, Plan


def write(
    plan: Plan,  # noqa: ARG001 - an archive has it all in its files
    node: NodePlan,
    baked: Baked,
    *,
    out: Path,
    epoch: int,
    shared: Shared,
) -> tuple[Artifact, ...]:
    """Write the node's archive; the arguments are those of `apkovl.write`.

    Raises:
        BuildError: writing failed.
    """
    common, own = baked.root.split()
    archive = artifact(
        "rootfs",
        out / f"{node.name}.rootfs.tar.zst",
        compress(pack(own, epoch), "zstd"),
        root=out.parent,
        epoch=epoch,
        prefix=shared.prefix(common, "zstd") if len(common) else None,
    )
    return (archive,)
