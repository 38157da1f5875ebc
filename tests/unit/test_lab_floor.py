"""The floor takes etcd's configuration and keys out of the artefact itself."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING

import pytest

from nodebake.errors import BuildError
from nodebake.lab import floor
from nodebake.tree import Tree, file, link, write_tar

if TYPE_CHECKING:
    from pathlib import Path


def test_the_nodes_files_come_out_of_the_artefact(tmp_path: Path) -> None:
    """Of an archive in several gzip members, only regular files below etc/ are taken."""
    shared, own = io.BytesIO(), io.BytesIO()
    write_tar(Tree({"usr/local/bin/etcd": file(b"program")}), shared, epoch=0, end=False)
    write_tar(Tree({"etc/etcd/conf.yml": file(b"name: a\n"), "etc/x": link("y")}), own, epoch=0)
    archive = tmp_path / "node.tar.gz"
    archive.write_bytes(gzip.compress(shared.getvalue()) + gzip.compress(own.getvalue()))
    tree = floor.node_files(archive)
    assert ["etc", "etc/etcd", "etc/etcd/conf.yml"] == list(tree)


def test_an_archive_that_is_none_is_an_error(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "node.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(BuildError, match=r"node\.tar\.gz cannot be read"):
        floor.node_files(tmp_path / "node.tar.gz")
