"""An Alpine overlay, `<node>.apkovl.tar.gz`, and what lies beside it on the boot medium.

Read by mkinitfs' initramfs with busybox `tar -C $sysroot -zxvf`, whose listing goes to apk as the list of
files to protect (initramfs-init.in, `unpack_apkovl`; apk-tools, `apk_db_read_overlay`). That happens at every
boot, and into memory: what is large and no secret stays outside, and the node's nodebake-programs links it.
"""

from __future__ import annotations

import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nodebake.errors import BuildError
from nodebake.formats.packing import Shared, gzip_member, is_open, pack
from nodebake.formats.writing import artifact, private, twin
from nodebake.tree import Tree, file, merge

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.components.contract import Baked
    from nodebake.manifest import Artifact
    from nodebake.plan import NodePlan, Plan
    from nodebake.tree import Entry

PROGRAMS = "etc/nodebake/programs"
"""The overlay's list of what lies outside it, as sha256sum writes it; the same one is on the medium."""
MEDIUM = "nodebake"
"""Directory on the boot medium with the programs, below it as below the node's root, and their list."""


def write(
    plan: Plan,  # noqa: ARG001 - an overlay has it all in its files
    node: NodePlan,
    baked: Baked,
    *,
    out: Path,
    epoch: int,
    shared: Shared,
) -> tuple[Artifact, ...]:
    """Write the node's overlay, its programs and its board files.

    Args:
        plan: the cluster.
        node: whose overlay.
        baked: its files.
        out: the node's directory; it exists, and its parent is the build's root.
        epoch: modification time of every entry, seconds since 1970.
        shared: what other nodes of this build already made.

    Raises:
        BuildError: a file lies at the top of the tree, or writing failed.
    """
    _refuse_top_level_files(baked.root)
    root, boot = _parted(baked, shared)
    common, own = root.split()
    overlay = artifact(
        "apkovl",
        out / f"{node.name}.apkovl.tar.gz",
        gzip_member(pack(own, epoch)),
        root=out.parent,
        epoch=epoch,
        prefix=shared.prefix(common, "gzip") if len(common) else None,
    )
    return overlay, *_board_files(boot, out, epoch, shared)


def _parted(baked: Baked, shared: Shared) -> tuple[Tree, Tree]:
    """Return what is in the overlay and what is beside it."""
    outside = {path: entry for path, entry in baked.root.items() if entry.shared and is_open(entry)}
    if not outside:
        return baked.root, baked.boot
    rows = ((shared.plain(entry).sha256.hexdigest(), path) for path, entry in outside.items())
    listed = file("".join(f"{digest}  {path}\n" for digest, path in rows).encode())
    inside = {path: entry for path, entry in baked.root.items() if path not in outside}
    beside = {f"{MEDIUM}/{path}": entry for path, entry in outside.items()}
    return Tree(inside | {PROGRAMS: listed}), merge(
        baked.boot, Tree(beside | {f"{MEDIUM}/{PurePosixPath(PROGRAMS).name}": listed})
    )


def _board_files(boot: Tree, out: Path, epoch: int, shared: Shared) -> tuple[Artifact, ...]:
    files = [(path, entry) for path, entry in boot.items() if stat.S_ISREG(entry.mode)]
    for directory in sorted(
        {out / "boot" / parent for path, _ in files for parent in PurePosixPath(path).parents}
    ):
        private(directory)
    return tuple(_board_file(out / "boot" / path, entry, out.parent, epoch, shared) for path, entry in files)


def _board_file(path: Path, entry: Entry, root: Path, epoch: int, shared: Shared) -> Artifact:
    """Write a file at the first node that has it; what is `shared` is the same file at the others."""
    if not entry.shared:
        return artifact("boot", path, entry.content, root=root, epoch=epoch)

    def write() -> Artifact:
        return artifact("boot", path, b"", root=root, epoch=epoch, prefix=shared.plain(entry))

    first = shared.once(("boot", root, path.name, entry), write)
    return twin(first, path, (entry.content,), root=root, epoch=epoch)


def _refuse_top_level_files(root: Tree) -> None:
    loose = [path for path, entry in root.items() if "/" not in path and not stat.S_ISDIR(entry.mode)]
    if loose:
        raise BuildError(
            f"an Alpine overlay cannot have files at the top: {', '.join(loose)}",
            hint="a line without a slash ends apk's list of protected files; put them into a directory",
        )
