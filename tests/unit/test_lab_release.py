"""Released media: what is one, and what is not."""

from __future__ import annotations

import gzip
import lzma
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from nodebake.command import run
from nodebake.errors import BuildError, InputError
from nodebake.lab.initramfs import cpio
from nodebake.lab.release import unpack
from nodebake.tree import Tree, file
from tests.need import need

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = (".alpine-release", "apks/.boot_repository", "boot/vmlinuz-virt", "boot/initramfs-virt")


def medium(directory: Path, names: tuple[str, ...] = FILES, *, initramfs: bytes = b"x") -> Path:
    """Return a directory with what a medium has."""
    root = directory / "medium"
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(initramfs if "initramfs" in name else b"3.20.3\n")
    return root


def tarball(root: Path) -> Path:
    """Return a tarball of a medium."""
    packed = root.parent / "release.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        for path in sorted(root.iterdir()):
            tar.add(path, path.name)
    return packed


def test_a_tarball_is_a_release(tmp_path: Path) -> None:
    """Flavour and version come from what is in it, whatever the file is called."""
    release = unpack(tarball(medium(tmp_path)), tmp_path / "to")
    told = (release.flavour, release.version, release.kernel, release.initramfs)
    assert ("virt", "3.20.3", "boot/vmlinuz-virt", "boot/initramfs-virt") == told


def test_an_iso_is_a_release(tmp_path: Path) -> None:
    """Upstream's alpine-virt is one; what comes out of it can be changed and removed."""
    xorriso = need("xorriso", package="xorriso")
    iso = tmp_path / "release.iso"
    run([xorriso, "-as", "mkisofs", "-quiet", "-R", "-o", iso, medium(tmp_path)])
    release = unpack(iso, tmp_path / "to")
    (release.directory / "boot/vmlinuz-virt").unlink()
    assert "virt" == release.flavour


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (".alpine-release", "it has no .alpine-release"),
        ("apks/.boot_repository", "it has no apks/.boot_repository"),
        ("boot/vmlinuz-virt", "it has 0 kernels"),
        ("boot/initramfs-virt", "it has no boot/initramfs-virt"),
    ],
)
def test_an_archive_of_something_else_is_refused(tmp_path: Path, missing: str, message: str) -> None:
    """The message says what is not there."""
    names = tuple(name for name in FILES if name != missing)
    with pytest.raises(InputError, match=message):
        unpack(tarball(medium(tmp_path, names)), tmp_path / "to")


@pytest.mark.parametrize("name", ["none.tar.gz", "broken.tar.gz", "broken.iso"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    """The error names the file and says what a release is."""
    need("xorriso", package="xorriso")
    if name.startswith("broken"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=rf"(?s){name}.*\n.*alpine-rpi-"):
        unpack(tmp_path / name, tmp_path / "to")


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, lzma.compress, zstandard.ZstdCompressor().compress],
    ids=["plain", "gzip", "xz", "zstd"],
)
def test_its_initramfs_is_read_however_it_is_packed(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """There are several ways in which mkinitfs can pack it."""
    tree = Tree({"bin/busybox": file(b"program", 0o755)})
    release = unpack(tarball(medium(tmp_path, initramfs=pack(cpio(tree)))), tmp_path / "to")
    assert tree == release.initramfs_files()


def test_an_initramfs_that_is_none_is_an_error(tmp_path: Path) -> None:
    """The message names the file on the medium."""
    release = unpack(tarball(medium(tmp_path, initramfs=b"nothing of the kind")), tmp_path / "to")
    with pytest.raises(BuildError, match="boot/initramfs-virt of the release cannot be read"):
        release.initramfs_files()
