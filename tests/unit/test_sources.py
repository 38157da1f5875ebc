"""Sources in their order: cache, mirror, upstream, Debian; verified, inspected, and told."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from nodebake.command import run
from nodebake.errors import InputError
from nodebake.progress import Silent
from nodebake.sources import Fetched, Sources, Want
from tests.need import CACHE, ROOT, missing, need, need_root, shared
from tests.serving import Page, Site, serving
from tests.unit import inputs
from tests.unit.inputs import HOST, WANT, busybox

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = f"{inputs.RELEASE}.tar.gz"


def release(etcd: bytes, *more: str) -> bytes:
    """Return an archive shaped as upstream's."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("etcd-v3.5.16-host/etcd", "etcd-v3.5.16-host/etcdctl", *more):
            info = tarfile.TarInfo(name)
            info.size = len(etcd)
            tar.addfile(info, io.BytesIO(etcd))
    return gzip.compress(out.getvalue(), compresslevel=1)


def write_lock(directory: Path, content: bytes, url: str, arch: str = HOST) -> Path:
    """Write a lock file that pins `content` at a server, and whose Debian does not resolve."""
    return inputs.write_lock(directory, hashlib.sha256(content).hexdigest(), url, arch=arch)


def fetch(lock: Path, mirror: str | None = None, want: Want = WANT) -> Fetched:
    """Fetch with a cache beside the lock file."""
    return Sources(lock=lock, cache=lock.parent / "cache", mirror=mirror, progress=Silent()).fetch(want)


@pytest.fixture
def site() -> Iterator[Site]:
    """Run a server."""
    with serving() as running:
        yield running


def test_upstream_is_the_first_choice_and_no_fallback(site: Site, tmp_path: Path) -> None:
    """Pinned, verified, unpacked, inspected; and there is nothing to explain."""
    content = release(busybox())
    site.pages[f"/rel/v3.5.16/{NAME}"] = Page(body=content)
    fetched = fetch(write_lock(tmp_path, content, site.url))
    assert fetched.files == {"etcd": busybox(), "etcdctl": busybox()}
    assert (fetched.fallback, fetched.linking, fetched.runtime) == ("", "static", {})
    assert [(used.source, used.sha256) for used in fetched.used] == [
        (f"{site.url}/rel/v3.5.16/{NAME}", hashlib.sha256(content).hexdigest())
    ]


@pytest.mark.parametrize("lost", ["archives", "objects", "resolved"])
def test_the_cache_needs_no_network_and_heals(tmp_path: Path, lost: str) -> None:
    """The second build asks nobody, whichever part of the cache is gone."""
    content = release(busybox())
    with serving() as site:
        site.pages[f"/rel/v3.5.16/{NAME}"] = Page(body=content)
        lock = write_lock(tmp_path, content, site.url)
        first = fetch(lock)
    shutil.rmtree(tmp_path / "cache" / lost)
    assert fetch(lock) == first


def test_a_cache_seeded_by_file_name_is_used(tmp_path: Path) -> None:
    """Upstream's file below archives/ is enough."""
    content = release(busybox())
    (tmp_path / "cache" / "archives").mkdir(parents=True)
    (tmp_path / "cache" / "archives" / NAME).write_bytes(content)
    assert fetch(write_lock(tmp_path, content, "http://upstream.invalid")).fallback == ""


def test_a_changed_object_is_noticed(tmp_path: Path) -> None:
    """A program that was changed in the cache is taken from its archive again."""
    content = release(busybox())
    (tmp_path / "cache" / "archives").mkdir(parents=True)
    (tmp_path / "cache" / "archives" / NAME).write_bytes(content)
    lock = write_lock(tmp_path, content, "http://upstream.invalid")
    first = fetch(lock)
    [path] = (tmp_path / "cache" / "objects").iterdir()
    seen = path.stat()
    path.write_bytes(b"!" * seen.st_size)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert fetch(lock) == first


def test_a_copied_cache_is_hashed_once_and_good(tmp_path: Path) -> None:
    """CI restores a cache with other inodes and times; it counts all the same, and is known then."""
    content = release(busybox())
    (tmp_path / "a" / "cache" / "archives").mkdir(parents=True)
    (tmp_path / "a" / "cache" / "archives" / NAME).write_bytes(content)
    first = fetch(write_lock(tmp_path / "a", content, "http://upstream.invalid"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "cache" / "archives")
    assert fetch(tmp_path / "b" / "sources.lock") == first
    (note,), (path,) = ((tmp_path / "b" / "cache" / name).iterdir() for name in ("resolved", "objects"))
    known = json.loads(note.read_text())["files"]["etcd"]
    seen = path.stat()
    assert (known["inode"], known["ctime_ns"]) == (seen.st_ino, seen.st_ctime_ns)


@pytest.mark.parametrize("place", ["", "v3.5.16", "rel/v3.5.16"])
@pytest.mark.parametrize("kind", ["directory", "url"])
def test_a_mirror_comes_before_upstream(site: Site, tmp_path: Path, place: str, kind: str) -> None:
    """Flat or by release, a directory or a URL."""
    content = release(busybox())
    (tmp_path / "m" / place).mkdir(parents=True)
    (tmp_path / "m" / place / NAME).write_bytes(content)
    site.pages[f"/m/{place}/{NAME}".replace("//", "/")] = Page(body=content)
    mirror = str(tmp_path / "m") if kind == "directory" else f"{site.url}/m"
    assert fetch(write_lock(tmp_path, content, "http://upstream.invalid"), mirror).fallback == ""


@pytest.mark.parametrize("kind", ["directory", "url"])
def test_a_wrong_file_on_the_mirror_ends_the_build(site: Site, tmp_path: Path, kind: str) -> None:
    """Upstream has the right one, and is not asked: a mismatch is for the user to look at."""
    content = release(busybox())
    upstream = site.pages[f"/rel/v3.5.16/{NAME}"] = Page(body=content)
    site.pages[f"/m/{NAME}"] = Page(body=content[:-7])
    (tmp_path / NAME).write_bytes(content[:-7])
    mirror = str(tmp_path) if kind == "directory" else f"{site.url}/m"
    with pytest.raises(InputError, match=rf"{NAME}: sha256 does not match"):
        fetch(write_lock(tmp_path, content, site.url), mirror)
    assert upstream.asked == []


def test_a_mirror_without_the_file_leads_to_upstream(site: Site, tmp_path: Path) -> None:
    """The mirror need not have everything."""
    content = release(busybox())
    site.pages[f"/rel/v3.5.16/{NAME}"] = Page(body=content)
    assert fetch(write_lock(tmp_path, content, site.url), str(tmp_path)).fallback == ""


def test_a_mirror_that_is_nothing_is_refused(tmp_path: Path) -> None:
    """A misspelt directory is not passed over."""
    with pytest.raises(InputError, match="neither a directory nor"):
        fetch(write_lock(tmp_path, b"", "http://upstream.invalid"), "/no/such/mirror")


def test_what_nobody_has_names_every_reason_and_the_file(tmp_path: Path) -> None:
    """Mirror, upstream and Debian, each with its own; and what to bring."""
    need("gpgv", package="gpgv")
    lock = write_lock(tmp_path, b"", "http://upstream.invalid")
    said = (
        rf"etcd 3\.5\.16 for {HOST} could not be had: .* has no {NAME}; "
        r"upstream\.invalid could not be reached \(name does not resolve\); "
        rf"debian\.invalid could not be reached .*\n  put {NAME} into a directory"
    )
    with pytest.raises(InputError, match=said):
        fetch(lock, str(tmp_path))


@pytest.mark.parametrize("place", ["k3s-1.31.4+k3s1-k3s-host", "k3s-host", "v1.31.4+k3s1/k3s-host"])
def test_a_file_without_its_version_is_told_apart(tmp_path: Path, place: str) -> None:
    """Such a name would be that of every release: cache and flat mirrors have one that says it."""
    lock = write_lock(tmp_path, b"", "http://upstream.invalid")
    mirror = tmp_path / "mirror"
    (mirror / place).parent.mkdir(parents=True)
    (mirror / place).write_bytes(busybox())
    name = inputs.pin_file(lock, "k3s", "1.31.4+k3s1", busybox())
    want = Want(name="k3s", version="1.31.4+k3s1", arch=HOST, files=("k3s",))
    if place == "k3s-host":
        said = rf"has no {re.escape(name)}; .*\n  put {re.escape(name)} \(.*/v1.31.4%2Bk3s1/k3s-host\) into"
        with pytest.raises(InputError, match=said):
            fetch(lock, str(mirror), want)
    else:
        fetched = fetch(lock, str(mirror), want)
        assert (fetched.files, fetched.linking) == ({"k3s": busybox()}, "static")
        assert (tmp_path / "cache" / "archives" / name).exists()


def test_a_file_that_is_no_program_comes_as_it_is(tmp_path: Path) -> None:
    """Verified, and neither unpacked nor inspected; what nobody has is told as with any input."""
    lock = write_lock(tmp_path, b"", "http://upstream.invalid")
    name = inputs.pin_file(lock, "k3s-images", "1.31.4+k3s1", b"not unpacked")
    want = Want(name="k3s-images", version="1.31.4+k3s1", arch=HOST, files=("k3s-images",), whole=True)
    with pytest.raises(
        InputError, match=rf"k3s-images .* could not be had: .*\n  put {re.escape(name)} .* into"
    ):
        fetch(lock, str(tmp_path), want)
    (tmp_path / name).write_bytes(b"not unpacked")
    fetched = fetch(lock, str(tmp_path), want)
    assert fetched.files == {"k3s-images": b"not unpacked"}
    assert [(one.name, one.sha256) for one in fetched.used] == [
        ("k3s-images", hashlib.sha256(b"not unpacked").hexdigest())
    ]
    (tmp_path / "cache" / "archives" / name).write_bytes(b"something else")
    assert fetch(lock, str(tmp_path), want) == fetched


def test_programs_for_another_machine_are_refused(tmp_path: Path) -> None:
    """The hash is right and the architecture is not: the pin itself is wrong."""
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[HOST]
    content = release(busybox())
    (tmp_path / NAME).write_bytes(content)
    lock = write_lock(tmp_path, content, "http://upstream.invalid", arch=other)
    with pytest.raises(InputError, match="etcd is for another machine"):
        fetch(lock, str(tmp_path), Want(name="etcd", version="3.5.16", arch=other, files=("etcd",)))


def test_a_climbing_archive_is_refused_though_its_hash_is_right(tmp_path: Path) -> None:
    """A pin is no reason to trust what is inside."""
    content = release(busybox(), "../../etc/cron.d/x")
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(InputError, match="climbs out"):
        fetch(write_lock(tmp_path, content, "http://upstream.invalid"), str(tmp_path))


def test_an_archive_without_a_program_is_refused(tmp_path: Path) -> None:
    """Its own name and the member's."""
    content = gzip.compress(bytes(1024))
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(InputError, match=rf"{NAME} has no file etcd-v3\.5\.16-host/etcd"):
        fetch(write_lock(tmp_path, content, "http://upstream.invalid"), str(tmp_path))


def test_two_builds_share_the_cache_and_one_download(site: Site, tmp_path: Path) -> None:
    """The second waits for the first, and both have the file."""
    content = release(busybox())
    page = site.pages[f"/rel/v3.5.16/{NAME}"] = Page(body=content, delay=0.01)
    lock = write_lock(tmp_path, content, site.url)
    found: list[Fetched] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(lock))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [item == found[0] for item in found] == [True] * 4
    assert page.asked == [""]


def test_a_cache_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "cache").write_bytes(b"")
    (tmp_path / NAME).write_bytes(b"")
    with pytest.raises(InputError, match=r"cache .* cannot be used"):
        fetch(write_lock(tmp_path, b"", "http://upstream.invalid"), str(tmp_path))


def test_importing_the_room_does_not_import_the_http_client() -> None:
    """A build with a full cache, and `--list`, do not pay for it."""
    code = "import nodebake.sources, sys; sys.exit('httpx' in sys.modules or 'elftools' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0  # noqa: S603 - our own line


def from_debian(arch: str, libc: Literal["musl", "glibc"] = "musl") -> Fetched:
    """Fetch the real etcd as the user would; skip without a seeded cache and without a network."""
    want = Want(name="etcd", version="3.5.16", arch=arch, files=("etcd", "etcdctl"), libc=libc)
    if not list((CACHE / "resolved").glob(f"etcd-3.5.16-{arch}-etcd+etcdctl.*")):
        try:
            socket.create_connection(("deb.debian.org", 80), timeout=5).close()
        except OSError as error:
            missing(f"deb.debian.org cannot be reached, and no cache is seeded (NODEBAKE_CACHE): {error}")
    return Sources(lock=ROOT / "sources.lock", cache=CACHE, progress=Silent()).fetch(want)


@pytest.mark.parametrize("arch", ["aarch64", "x86_64"])
def test_the_shipped_lock_gives_etcd_that_runs_on_musl(tmp_path: Path, arch: str) -> None:
    """In Alpine's minirootfs, with the runtime laid over it, etcd and etcdctl say their versions."""
    rootfs = shared(f"alpine-minirootfs-3.20.3-{arch}.tar.gz")
    need_root()
    fetched = from_debian(arch)
    with tarfile.open(rootfs) as tar:
        tar.extractall(tmp_path, filter="tar")
    laid = {f"usr/bin/{name}": content for name, content in fetched.files.items()} | dict(fetched.runtime)
    emulator = []
    if arch != HOST:
        laid["qemu"] = Path(need(f"qemu-{arch}-static", package="qemu-user-static")).read_bytes()
        emulator = ["/qemu"]
    for path, content in laid.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
        (tmp_path / path).chmod(0o755)
    said = run(["chroot", tmp_path, *emulator, "/usr/bin/etcd", "--version"])
    assert b"etcd Version: 3.5." in said
    assert b"etcdctl version: 3.5." in run(["chroot", tmp_path, *emulator, "/usr/bin/etcdctl", "version"])


def test_only_a_target_without_glibc_is_brought_one() -> None:
    """On Debian, the C library is neither among the files nor among the inputs used."""
    brought, own = from_debian(HOST), from_debian(HOST, "glibc")
    needed = {"libc6"} if brought.linking == "glibc" else set()  # upstream's etcd is static
    assert needed == {used.name for used in brought.used} - {used.name for used in own.used}
    assert bool(needed) == bool(brought.runtime)
    assert (brought.files, {}) == (own.files, own.runtime)
