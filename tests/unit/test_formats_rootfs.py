"""The tree to lay over a root file system, read by zstd and tar."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from nodebake import command
from nodebake.formats import rootfs
from nodebake.formats.packing import Shared
from tests.need import need
from tests.unit.target import BINARY, EPOCH, baked, plan

if TYPE_CHECKING:
    from pathlib import Path


def test_tar_unpacks_it_through_zstd(tmp_path: Path) -> None:
    """GNU tar with zstd gives every file with its content and mode."""
    need("zstd", package="zstd")
    cluster, out, root = plan(tmp_path), tmp_path / "x-1", tmp_path / "root"
    out.mkdir()
    root.mkdir()
    [artifact] = rootfs.write(
        cluster, cluster.nodes[0], baked(), out=out, epoch=EPOCH, shared=Shared(epoch=EPOCH)
    )
    assert (artifact.kind, artifact.path) == ("rootfs", "x-1/x-1.rootfs.tar.zst")
    command.run(["tar", "--zstd", "-C", root, "-xpf", tmp_path / artifact.path])
    assert (root / "usr/local/bin/etcd").read_bytes() == BINARY
    assert stat.S_IMODE((root / "root").stat().st_mode) == 0o700
    found = {str(path.relative_to(root)) for path in root.rglob("*")}
    assert found == set(baked().root)
