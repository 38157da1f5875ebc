"""The Alpine overlay, read as the initramfs reads it, and by others."""

from __future__ import annotations

import fnmatch
import gzip
import io
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from nodebake import command
from nodebake.components.contract import Baked
from nodebake.errors import BuildError
from nodebake.formats import apkovl
from nodebake.formats.packing import Shared
from nodebake.tree import Tree, file
from tests.need import need
from tests.unit.target import BINARY, EPOCH, baked, plan

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.manifest import Artifact


PATTERN = "*.apkovl.tar.gz*"  # mkinitfs, nlplug-findfs.c


@pytest.fixture
def written(tmp_path: Path) -> tuple[Artifact, ...]:
    """Write x-1's overlay into tmp_path/x-1."""
    cluster = plan(tmp_path)
    (tmp_path / "x-1").mkdir()
    return apkovl.write(
        cluster, cluster.node("x-1"), baked(), out=tmp_path / "x-1", epoch=EPOCH, shared=Shared(epoch=EPOCH)
    )


@pytest.fixture
def overlay(tmp_path: Path, written: tuple[Artifact, ...]) -> Path:
    """Return the overlay's path."""
    return tmp_path / written[0].path


def test_the_artifacts_are_named_by_kind_and_place(written: tuple[Artifact, ...]) -> None:
    """One overlay; below boot/ the programs, with their list, and the board's files."""
    expected = [
        ("apkovl", "x-1/x-1.apkovl.tar.gz"),
        ("boot", "x-1/boot/nodebake/programs"),
        ("boot", "x-1/boot/nodebake/usr/local/bin/etcd"),
        ("boot", "x-1/boot/nodebake/usr/local/bin/etcdctl"),
        ("boot", "x-1/boot/overlays/a.dtbo"),
        ("boot", "x-1/boot/usercfg.txt"),
    ]
    assert expected == [(item.kind, item.path) for item in written]


@pytest.mark.usefixtures("written")
def test_programs_stay_outside_and_the_overlay_says_which(tmp_path: Path, overlay: Path) -> None:
    """sha256sum finds beside the overlay what the list in it names; the same list lies there."""
    medium = tmp_path / "x-1/boot/nodebake"
    with tarfile.open(overlay) as archive:
        packed = archive.extractfile("etc/nodebake/programs")
        assert packed is not None
        listed = packed.read()
    (tmp_path / "list").write_bytes(listed)
    checked = command.run(["sh", "-c", 'cd "$1" && sha256sum -c "$2"', "sh", medium, tmp_path / "list"])
    assert b"usr/local/bin/etcd: OK\nusr/local/bin/etcdctl: OK\n" == checked
    assert listed == (medium / "programs").read_bytes()


def test_a_secret_stays_in_the_overlay(tmp_path: Path) -> None:
    """Large or not, what not everybody may read keeps its mode, which a FAT would lose."""
    cluster, secret = plan(tmp_path), file(b"snapshot", 0o600, shared=True)
    (tmp_path / "x-1").mkdir()
    tree = Tree(
        {"var/lib/nodebake/snapshot.db": secret, "usr/local/bin/etcd": file(BINARY, 0o755, shared=True)}
    )
    shared = Shared(epoch=EPOCH)
    apkovl.write(
        cluster, cluster.nodes[0], Baked(root=tree), out=tmp_path / "x-1", epoch=EPOCH, shared=shared
    )
    with tarfile.open(tmp_path / "x-1/x-1.apkovl.tar.gz") as archive:
        files = {member.name for member in archive if member.isfile()}
    assert {"var/lib/nodebake/snapshot.db", "etc/nodebake/programs"} == files


@pytest.mark.usefixtures("written")
def test_exactly_one_file_is_an_overlay_to_the_initramfs(tmp_path: Path) -> None:
    """nlplug-findfs takes the first match of *.apkovl.tar.gz*: there are no sidecars (pitfalls 1, 2)."""
    matching = [path.name for path in (tmp_path / "x-1").iterdir() if fnmatch.fnmatch(path.name, PATTERN)]
    assert matching == ["x-1.apkovl.tar.gz"]


def test_no_entry_upsets_the_root_or_ends_apks_list(overlay: Path) -> None:
    """Names are etc/...: no ./ and no file at the top; every directory comes before its files (pitfall 4)."""
    with tarfile.open(overlay) as archive:
        members = archive.getmembers()
    seen: set[str] = set()
    for member in members:
        assert not member.name.startswith(("./", "/"))
        assert member.isdir() or "/" in member.name
        parent = member.name.rpartition("/")[0]
        assert parent in seen | {""}
        if member.isdir():
            seen.add(member.name)
    assert {(member.uname, member.gname) for member in members} == {("", "")}


def test_busybox_unpacks_it_as_the_initramfs_does(tmp_path: Path, overlay: Path) -> None:
    """`tar -C root -zxf` gives contents, modes and links; its -v listing has a slash on every line."""
    busybox, root = need("busybox", package="busybox-static"), tmp_path / "root"
    root.mkdir(mode=0o755)
    listing = command.run([busybox, "tar", "-C", root, "-zxvf", overlay]).decode().splitlines()
    assert [line for line in listing if "/" not in line] == []
    assert (root / "usr/local/sbin/mine").read_bytes() == b"#!/bin/sh\n"
    modes = {name: stat.S_IMODE((root / name).stat().st_mode) for name in ("root", "etc/etcd/pki", ".")}
    assert modes == {"root": 0o700, "etc/etcd/pki": 0o750, ".": 0o755}
    assert stat.S_IMODE((root / "etc/etcd/pki/server.key").stat().st_mode) == 0o600
    assert (
        root / "etc/systemd/system/multi-user.target.wants/etcd.service"
    ).readlink().name == "etcd.service"


@pytest.mark.parametrize(
    "argv", [("gunzip", "-t"), ("tar", "-tzf"), ("busybox", "gunzip", "-t"), ("busybox", "tar", "-tzf")]
)
def test_other_readers_find_no_fault(overlay: Path, argv: tuple[str, ...]) -> None:
    """gzip, GNU tar and busybox read the members in a row as one archive."""
    need(argv[0], package=argv[0])
    command.run([*argv, overlay])


def test_python_sees_one_archive(overlay: Path) -> None:
    """The members together are one tar, with its end at the end."""
    data = gzip.decompress(overlay.read_bytes())
    assert data.endswith(bytes(1024))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
    assert names == list(dict.fromkeys(names))
    programs = {path for path, entry in baked().root.items() if entry.shared}
    assert set(names) - {"etc/nodebake", "etc/nodebake/programs"} == set(baked().root) - programs


def test_it_is_private(overlay: Path) -> None:
    """The overlay has keys in it: nobody else on the build machine reads it."""
    assert stat.S_IMODE(overlay.stat().st_mode) == 0o600


def test_a_file_at_the_top_is_refused(tmp_path: Path) -> None:
    """A line without a slash would end apk's list of protected files (pitfall 4)."""
    cluster = plan(tmp_path)
    loose = Baked(root=Tree({"README": file(b"")}))
    with pytest.raises(BuildError, match="files at the top: README"):
        apkovl.write(cluster, cluster.nodes[0], loose, out=tmp_path, epoch=EPOCH, shared=Shared(epoch=EPOCH))


def test_a_node_without_shared_files_has_an_overlay_too(tmp_path: Path) -> None:
    """A tree with no binaries is a single member."""
    cluster = plan(tmp_path)
    small = Baked(root=Tree({"etc/hostname": file(b"x\n")}))
    out = tmp_path / "x-1"
    out.mkdir()
    apkovl.write(cluster, cluster.nodes[0], small, out=out, epoch=EPOCH, shared=Shared(epoch=EPOCH))
    with tarfile.open(out / "x-1.apkovl.tar.gz") as archive:
        assert archive.getnames() == ["etc", "etc/hostname"]


def test_a_further_node_costs_only_its_own_part(tmp_path: Path) -> None:
    """The programs are one file for all nodes, the board's files are each node's own, the overlays small."""
    cluster, shared = plan(tmp_path), Shared(epoch=EPOCH)
    for node in cluster.nodes:
        (tmp_path / node.name).mkdir()
        apkovl.write(cluster, node, baked(node.name), out=tmp_path / node.name, epoch=EPOCH, shared=shared)
    folders = [tmp_path / node.name for node in cluster.nodes]
    programs, board = (
        {(folder / "boot" / path).stat().st_ino for folder in folders}
        for path in ("nodebake/usr/local/bin/etcd", "usercfg.txt")
    )
    overlays = {next(folder.glob(PATTERN)).read_bytes() for folder in folders}
    assert (1, len(folders), len(folders)) == (len(programs), len(board), len(overlays))
    assert all(len(data) < 64 << 10 for data in overlays)
