"""The lab's initramfs, read back by busybox, and the order of kernel modules."""

from __future__ import annotations

import lzma
from typing import TYPE_CHECKING

import pytest

from nodebake import command
from nodebake.errors import BuildError
from nodebake.lab import initramfs
from nodebake.tree import Tree, file, link
from tests.need import need

if TYPE_CHECKING:
    from pathlib import Path

DEPENDENCIES = """\
kernel/a.ko.xz:
kernel/b.ko.xz: kernel/a.ko.xz
kernel/virtio-net.ko.xz: kernel/b.ko.xz kernel/a.ko.xz
"""


def test_busybox_unpacks_the_archive(tmp_path: Path) -> None:
    """Files, modes and links come out of it as they went in."""
    busybox = need("busybox", package="busybox-static")
    tree = Tree({"init": file(b"#!/bin/sh\n", 0o755), "bin/sh": link("busybox"), "etc/odd": file(b"12345")})
    archive = initramfs.cpio(tree)
    command.run([busybox, "cpio", "-idm"], stdin=archive, cwd=tmp_path)
    found = (
        (tmp_path / "init").stat().st_mode & 0o777,
        str((tmp_path / "bin/sh").readlink()),
        (tmp_path / "etc/odd").read_bytes(),
    )
    assert (0o755, "busybox", b"12345") == found


def test_what_busybox_packed_is_read(tmp_path: Path) -> None:
    """An archive may follow another, as the kernel takes them; the later file wins."""
    busybox = need("busybox", package="busybox-static")
    (tmp_path / "init").write_bytes(b"12345")
    (tmp_path / "init").chmod(0o755)
    first = initramfs.cpio(Tree({"init": file(b"other"), "bin/sh": link("busybox")}))
    second = command.run([busybox, "cpio", "-o", "-H", "newc"], stdin=b"init\n", cwd=tmp_path)
    tree = initramfs.read_cpio(first + second)
    assert (b"12345", 0o100755, b"busybox") == (
        tree["init"].content,
        tree["init"].mode,
        tree["bin/sh"].content,
    )


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["virtio_net"], ("kernel/a.ko.xz", "kernel/b.ko.xz", "kernel/virtio-net.ko.xz")),
        (["b", "virtio-net"], ("kernel/a.ko.xz", "kernel/b.ko.xz", "kernel/virtio-net.ko.xz")),
        (["ext4"], ()),
    ],
)
def test_a_module_comes_after_what_it_needs(wanted: list[str], expected: tuple[str, ...]) -> None:
    """The order is one in which insmod takes them; what is built in is left out."""
    assert expected == initramfs.closure(DEPENDENCIES, wanted)


def test_modules_are_numbered_and_plain(tmp_path: Path) -> None:
    """Their names sort in loading order, and none is compressed."""
    (tmp_path / "kernel").mkdir()
    (tmp_path / "modules.dep").write_text(DEPENDENCIES, encoding="utf-8")
    for name in ("a", "b"):
        (tmp_path / f"kernel/{name}.ko.xz").write_bytes(lzma.compress(name.encode()))
    tree = initramfs.modules(lambda path: (tmp_path / path).read_bytes(), ["b"])
    files = {path: tree[path].content for path in tree if path.endswith(".ko")}
    assert {"modules/00-a.ko": b"a", "modules/01-b.ko": b"b"} == files


def test_a_system_without_modules_is_an_error(tmp_path: Path) -> None:
    """The message says so."""
    with pytest.raises(BuildError, match="has no kernel modules"):
        initramfs.modules(lambda path: (tmp_path / path).read_bytes(), ["b"])
