"""Archives give their members by exact path, and nothing else."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import zstandard

from nodebake.errors import InputError
from nodebake.sources import archive
from tests.need import need

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "a.tar": bytes,
    "a.tar.gz": gzip.compress,
    "a.tgz": gzip.compress,
    "a.tar.xz": lzma.compress,
    "a.tar.zst": zstandard.ZstdCompressor().compress,
}


def tar(*members: tuple[str, bytes | str]) -> bytes:
    """Return a tar archive of files (bytes) and symbolic links (text)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return out.getvalue()


def unpack(content: bytes, name: str = "a.tar", *, rooted: bool = False) -> dict[str, bytes]:
    """Return every regular file of an archive."""
    return archive.members(io.BytesIO(content), name=name, wanted=lambda _: True, rooted=rooted)


@pytest.mark.parametrize("name", COMPRESS)
def test_every_compression_is_read(name: str) -> None:
    """The member's bytes come out, whatever they were packed with."""
    packed = COMPRESS[name](tar(("r/etcd", b"1"), ("r/README", b"2")))
    found = archive.members(io.BytesIO(packed), name=name, wanted={"r/etcd"}.__contains__)
    assert found == {"r/etcd": b"1"}


def test_a_leading_dot_does_not_matter() -> None:
    """Debian's archives have `./usr/bin/etcd`."""
    assert unpack(tar(("./usr/bin/etcd", b"1"))) == {"usr/bin/etcd": b"1"}


@pytest.mark.parametrize("path", ["../etcd", "r/../../etcd", "/etc/passwd", "r/x/../etcd"])
def test_a_path_that_climbs_out_spoils_the_archive(path: str) -> None:
    """It is refused even when the member that is wanted comes first."""
    with pytest.raises(InputError, match="a path that climbs out"):
        unpack(tar(("r/etcd", b"1"), (path, b"2")))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "../r/../../x"])
def test_a_link_that_climbs_out_spoils_the_archive(target: str) -> None:
    """Links are never followed, and one that leads out is no accident."""
    with pytest.raises(InputError, match="a link that climbs out"):
        unpack(tar(("r/etcd", target)))


def test_a_hard_link_that_climbs_out_spoils_the_archive() -> None:
    """The other kind of link."""
    info = tarfile.TarInfo("r/etcd")
    info.type, info.linkname = tarfile.LNKTYPE, "../shadow"
    with pytest.raises(InputError, match="a link that climbs out"):
        unpack(info.tobuf() + bytes(1024))


def test_links_within_are_left_out_and_harm_nothing() -> None:
    """In a package, absolute links are meant from the target's root."""
    content = tar(("lib64/ld.so", "/lib/x/ld.so"), ("r/a", "../lib/b"), ("r/etcd", b"1"))
    assert unpack(content, rooted=True) == {"r/etcd": b"1"}


def test_a_bomb_is_refused() -> None:
    """What unpacks to more than any release ends before memory does."""
    packed = io.BytesIO(gzip.compress(tar(("r/etcd", bytes(2 << 20)))))
    with pytest.raises(InputError, match="unpacks to more bytes than it may"):
        archive.members(packed, name="a.tar.gz", wanted=lambda _: True, limit=1 << 20)


def test_too_many_entries_are_refused() -> None:
    """A million empty files are a bomb as well."""
    with pytest.raises(InputError, match="more than 5000 entries"):
        unpack(tarfile.TarInfo("f").tobuf() * 5_002)


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_damaged_archive_is_an_input_error(name: str, share: float) -> None:
    """Cut off anywhere, it has no member to give or ends in a message."""
    packed = COMPRESS[name](tar(("r/etcd", bytes(range(256)) * 400)))
    found: dict[str, bytes] = {}
    with suppress(InputError):
        found = unpack(packed[: int(len(packed) * share)], name)
    assert found == {}


def test_an_unknown_compression_is_an_input_error() -> None:
    """A name that says nothing about its format is not guessed at."""
    with pytest.raises(InputError, match="not known here"):
        unpack(b"", "a.rar")


def test_a_package_is_read_as_ar_writes_it(tmp_path: Path) -> None:
    """Binutils' ar, as somebody else's writer, makes the package that is read here."""
    need("ar", package="binutils")
    from nodebake.command import run  # noqa: PLC0415 - after the check that there is something to run

    data = lzma.compress(tar(("./usr/bin/etcd", b"odd")))
    for name, content in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", data)):
        (tmp_path / name).write_bytes(content)
    run(["ar", "rc", "p.deb", "debian-binary", "control.tar.xz", "data.tar.xz"], cwd=tmp_path)
    found = archive.debian_data((tmp_path / "p.deb").read_bytes(), name="p.deb")
    assert found == ("data.tar.xz", data)


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"x" * 12])
def test_what_is_no_package_is_an_input_error(content: bytes) -> None:
    """Nothing, an empty archive, and one with a broken header."""
    with pytest.raises(InputError, match=r"p\.deb: is not a Debian package"):
        archive.debian_data(content, name="p.deb")
