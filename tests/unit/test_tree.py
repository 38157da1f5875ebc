"""A target's files in memory, and the tar that carries them."""

from __future__ import annotations

import io
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from nodebake import command
from nodebake.errors import BuildError
from nodebake.tree import Entry, Tree, directory, file, link, merge, write_tar
from tests.need import need

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = 1_700_000_000


def tar(tree: Tree, *, end: bool = True) -> bytes:
    """Return the archive's bytes."""
    to = io.BytesIO()
    write_tar(tree, to, epoch=EPOCH, end=end)
    return to.getvalue()


def test_parents_are_implied_and_come_first() -> None:
    """A file brings its directories, each before what lies in it."""
    tree = Tree({"/etc/etcd/pki/ca.crt": file(b"x"), "etc-more": file(b"y")})
    assert list(tree) == ["etc", "etc-more", "etc/etcd", "etc/etcd/pki", "etc/etcd/pki/ca.crt"]
    assert stat.S_IMODE(tree["etc/etcd"].mode) == 0o755


@pytest.mark.parametrize("path", ["", "/", ".", "../etc", "etc/../../x"])
def test_a_path_outside_the_target_is_refused(path: str) -> None:
    """Nothing climbs out of the target's root."""
    with pytest.raises(BuildError, match="not a path inside a target"):
        Tree({path: file(b"")})


def test_a_path_through_a_file_is_refused() -> None:
    """A file cannot have files in it, and the message names both."""
    with pytest.raises(BuildError, match="etc/hosts/x would lie inside etc/hosts"):
        Tree({"etc/hosts": file(b""), "etc/hosts/x": file(b"")})


def test_the_later_tree_wins() -> None:
    """Where two trees have the same path, the later one's entry is taken, mode and all."""
    merged = merge(Tree({"etc/a": file(b"1")}), Tree({"etc/a": file(b"2", 0o600)}))
    assert merged["etc/a"] == file(b"2", 0o600)


def test_a_link_in_the_way_of_a_directory_is_refused() -> None:
    """A user's link must not send our files somewhere else."""
    with pytest.raises(BuildError, match="not a directory"):
        merge(Tree({"etc/x/y": file(b"")}), Tree({"etc/x": link("/srv")}))


def test_split_gives_every_entry_to_one_side() -> None:
    """Shared and own files have no entry in common, and together they are the tree."""
    tree = Tree(
        {
            "usr/local/bin/etcd": file(b"big", 0o755, shared=True),
            "usr/local/sbin/own": file(b"small"),
            "root": directory(0o700),
        }
    )
    shared, own = tree.split()
    assert list(shared) == ["usr", "usr/local", "usr/local/bin", "usr/local/bin/etcd"]
    assert "root" in own
    assert own["usr/local/sbin/own"] == file(b"small")
    assert merge(shared, own) == tree


def test_tar_is_the_same_twice_and_times_are_the_epoch() -> None:
    """The same tree gives the same bytes; every entry has the epoch's time."""
    tree = Tree({"etc/hosts": file(b"127.0.0.1 localhost\n"), "etc/l": link("hosts")})
    assert tar(tree) == tar(Tree(dict(reversed(list(tree.items())))))
    with tarfile.open(fileobj=io.BytesIO(tar(tree))) as archive:
        assert {member.mtime for member in archive} == {EPOCH}


def test_python_reads_back_what_was_written() -> None:
    """Owners, modes, links and contents survive; names are numbers only."""
    tree = Tree(
        {
            "etc/key": Entry(mode=stat.S_IFREG | 0o600, content=b"k", uid=2379, gid=2379),
            "root": directory(0o700),
            "etc/run": link("/run"),
        }
    )
    with tarfile.open(fileobj=io.BytesIO(tar(tree))) as archive:
        members = {member.name: member for member in archive}
        assert list(members) == ["etc", "etc/key", "etc/run", "root"]
        key = members["etc/key"]
        assert (key.mode, key.uid, key.gid, key.uname, key.gname) == (0o600, 2379, 2379, "", "")
        assert members["root"].mode == 0o700
        assert members["etc/run"].linkname == "/run"


@pytest.mark.parametrize("length", [99, 100, 101, 180, 300])
@pytest.mark.parametrize("reader", ["tar", "busybox"])
def test_long_names_come_back(tmp_path: Path, reader: str, length: int) -> None:
    """Names beyond a header's 100 bytes are read by GNU tar and by busybox."""
    name = "usr/lib/" + "n" * (length - 8) if length < 250 else "d/" * 60 + "n" * (length - 120)
    program = [need("tar", package="tar")]
    if reader == "busybox":
        program = [need("busybox", package="busybox-static"), "tar"]
    command.run([*program, "-xf", "-", "-C", tmp_path], stdin=tar(Tree({name: file(b"content")})))
    assert (tmp_path / name).read_bytes() == b"content"


def test_archives_without_an_end_may_be_continued() -> None:
    """Two parts, the first without its end, are one archive."""
    parts = tar(Tree({"a/1": file(b"x" * 700)}), end=False) + tar(Tree({"b/2": file(b"y")}))
    with tarfile.open(fileobj=io.BytesIO(parts)) as archive:
        assert archive.getnames() == ["a", "a/1", "b", "b/2"]
