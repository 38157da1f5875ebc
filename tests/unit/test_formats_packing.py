"""Members in a row, made once: sizes, hashes, readers."""

from __future__ import annotations

import gzip
import hashlib
import threading
from typing import Literal

import pytest

from nodebake import command
from nodebake.errors import BuildError
from nodebake.formats import nocloud
from nodebake.formats.packing import Shared, compress, gzip_member
from nodebake.tree import Tree, file
from tests.need import need

BIG = bytes(range(256)) * 5000


def test_the_header_tells_nothing_but_the_format() -> None:
    """No time, no name, no operating system: RFC 1952's values for unknown."""
    assert gzip_member(b"x")[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@pytest.mark.parametrize("size", [0, 1, 5_000, 40_000])
def test_an_aligned_member_ends_where_it_should(size: int) -> None:
    """The member's length is a multiple of 4096, and Python reads it."""
    member = gzip_member(BIG[:size], align=4096)
    assert len(member) % 4096 == 0
    assert gzip.decompress(member) == BIG[:size]


@pytest.mark.parametrize("tool", ["gzip", "busybox"])
def test_readers_skip_the_extra_field_and_read_members_in_a_row(tool: str) -> None:
    """GNU gzip and busybox see one stream where we wrote two members."""
    program = (
        [need("gzip", package="gzip")]
        if tool == "gzip"
        else [need("busybox", package="busybox-static"), "gunzip"]
    )
    first = gzip_member(BIG)
    both = first + gzip_member(b"end", align=4096)
    argv = [*program, "-dc"] if tool == "gzip" else [*program, "-c"]
    assert command.run(argv, stdin=both) == BIG + b"end"


def test_alignment_beyond_an_extra_field_is_refused() -> None:
    """An extra field has 16 bits for its length."""
    with pytest.raises(BuildError, match="65536"):
        gzip_member(b"", align=1 << 16)


def test_zstd_frames_in_a_row_are_one_stream() -> None:
    """The zstd program reads two frames as one."""
    zstd = need("zstd", package="zstd")
    assert command.run([zstd, "-dc"], stdin=compress(BIG, "zstd") + compress(b"end", "zstd")) == BIG + b"end"


def test_a_prefix_is_made_once_for_all_nodes() -> None:
    """Equal shared files give the same object, so that nothing is compressed or hashed twice."""
    shared = Shared(epoch=1)
    tree = Tree({"bin/etcd": file(BIG, 0o755, shared=True)})
    assert shared.prefix(tree, "gzip") is shared.prefix(Tree(dict(tree.items())), "gzip")


def test_fewer_files_reuse_the_members_they_have() -> None:
    """A client, which has etcdctl only, takes the member that the servers' etcdctl is."""
    shared = Shared(epoch=1)
    server = Tree({"bin/etcd": file(BIG, shared=True), "bin/etcdctl": file(BIG[:9000], shared=True)})
    client = Tree({"bin/etcdctl": file(BIG[:9000], shared=True)})
    assert shared.prefix(client, "gzip").chunks[-1] is shared.prefix(server, "gzip").chunks[-1]


def test_a_prefix_knows_its_size_and_hash() -> None:
    """The kept hash is that of the bytes, and goes on with more of them."""
    prefix = Shared(epoch=1).prefix(Tree({"bin/etcd": file(BIG, shared=True)}), "gzip")
    for one in (prefix.then(b"more"), prefix):
        whole = b"".join(one.chunks)
        assert one.size == len(whole)
        assert one.sha256.hexdigest() == hashlib.sha256(whole).hexdigest()


def test_threads_wait_for_the_first_one() -> None:
    """Several threads that want the same thing get one and the same, made once."""
    shared, made, got = Shared(epoch=1), [], []
    gate = threading.Event()

    def make() -> object:
        gate.wait(5)
        made.append(object())
        return made[-1]

    threads = [threading.Thread(target=lambda: got.append(shared.once("key", make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert [made[0]] * 4 == got


def test_a_failure_reaches_everybody_who_waits() -> None:
    """What could not be made raises for each of those who want it."""
    shared = Shared(epoch=1)

    def fail() -> None:
        raise BuildError("no")

    for _ in range(2):
        with pytest.raises(BuildError, match="no"):
            shared.once("key", fail)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_what_not_everybody_may_read_is_not_told_as_shared(codec: Literal["gzip", "zstd"]) -> None:
    """Many nodes may have a secret in common; its bytes are in no range, wherever the archive goes."""
    tree = Tree({"bin/a": file(b"a" * 9000, 0o755, shared=True), "s": file(b"s" * 9000, 0o600, shared=True)})
    prefix = Shared(epoch=0).prefix(tree, codec)
    inside = nocloud._headed([b"head", b"more"], prefix.then(b"end"), b"fill")
    directories, program, secret = prefix.chunks
    for one, told in (
        (prefix, [directories, program]),
        (inside, [b"head", b"more", directories, program, b"end", b"fill"]),
    ):
        whole = b"".join(one.chunks)
        assert [whole[start:end] for start, end in one.ranges] == told
        assert secret in whole
