"""Builds without a network: what is brought along is all that they need, and is checked as ever."""

from __future__ import annotations

import gzip
import hashlib
import io
import platform
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from nodebake import command, pipeline, vendoring
from nodebake.errors import InputError, UsageError
from nodebake.progress import Silent
from nodebake.sources import Sources, made
from tests.need import ROOT, need, need_root
from tests.serving import Page, serving
from tests.unit import inputs, release
from tests.unit.inputs import HOST, WANT, busybox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serving import Site

VIRT = "3.20.3"
BUILD = """\
import sys
from pathlib import Path
from nodebake import pipeline
from nodebake.progress import Silent
place, mirror, step = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
options = pipeline.Options(
    out=place / "out", vault=place / "vault", lock=place / "sources.lock", mirror=mirror or None,
    cache=place / "empty", offline=True, node="x-1",
)
make = getattr(pipeline, step)
make(pipeline.resolve(str(place / "edge.yaml")), options=options, progress=Silent(), ask=None)
"""


@pytest.fixture
def site() -> Iterator[Site]:
    """Run a server that plays upstream."""
    with serving() as running:
        yield running


@pytest.fixture
def place(site: Site, tmp_path: Path) -> Path:
    """Return a directory with a profile and a lock file that pins etcd and Alpine at the server."""
    inputs.profile(tmp_path, "alpine", "[apkovl]")
    path = tmp_path / "edge.yaml"
    path.write_text(path.read_text().replace("data: {}", f"data: {{size: 16MiB}}, release: {VIRT}"))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("etcd", "etcdctl"):
            member = tarfile.TarInfo(f"{inputs.RELEASE}/{name}")
            member.size = len(busybox())
            archive.addfile(member, io.BytesIO(busybox()))
    etcd = gzip.compress(packed.getvalue(), compresslevel=1, mtime=0)
    site.pages[f"/rel/v3.5.16/{inputs.RELEASE}.tar.gz"] = Page(body=etcd)
    lock = inputs.write_lock(tmp_path, hashlib.sha256(etcd).hexdigest(), site.url)
    medium = release.iso(tmp_path / "medium.iso", release.VIRT).read_bytes()
    site.pages[f"/alpine-virt-{VIRT}-{HOST}.iso"] = Page(body=medium)
    with lock.open("a") as text:
        text.write(f"""
[alpine-virt]
url = "{site.url}/alpine-virt-{{version}}-{{arch}}.iso"
files = []
arches = {{{HOST} = "{HOST}"}}
[alpine-virt.releases."{VIRT}"]
sha256.{HOST} = "{hashlib.sha256(medium).hexdigest()}"
confidence = "C"
confirmed = false
""")
    return tmp_path


def vendor(place: Path, **changes: object) -> vendoring.Vendored:
    """Bring the inputs of the profile in `place` into `place`/away."""
    told = {"out": place / "out", "vault": place / "vault", "cache": place / "cache", **changes}
    options = pipeline.Options(lock=place / "sources.lock", **told)  # type: ignore[arg-type]
    return vendoring.vendor(pipeline.resolve(str(place / "edge.yaml")), options, place / "away", Silent())


def alone(place: Path, mirror: str, step: str = "build") -> subprocess.CompletedProcess[str]:
    """Build in a network namespace that has a loopback and nothing else."""
    unshare = need("unshare", package="util-linux")
    script = 'ip link set lo up && exec "$@"'
    need("ip", package="iproute2")
    argv = [unshare, "--net", "sh", "-c", script, "sh", sys.executable, "-c", BUILD, str(place), mirror, step]
    env = {"PATH": command.PATH, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - ours


def test_what_was_vendored_builds_with_all_network_taken_away(place: Path) -> None:
    """Artefacts, and images where there are any: from the directory, with an empty cache."""
    need_root()
    done = vendor(place)
    command.run(
        [need("sha256sum", package="coreutils"), "--check", "--strict", "SHA256SUMS"], cwd=place / "away"
    )
    assert done.files == 2  # each once
    step = "build"
    if platform.machine() == "x86_64":
        need("syslinux", package="syslinux")
        step = "image"
    ended = alone(place, str(place / "away"), step)
    assert (0, "") == (ended.returncode, ended.stderr)
    assert (place / f"out/x-1/x-1.{'img' if step == 'image' else 'apkovl.tar.gz'}").exists()


def test_without_a_directory_only_the_cache_counts(place: Path) -> None:
    """What is missing is named, with why it was not asked for."""
    need_root()
    ended = alone(place, "")
    assert "etcd 3.5.16" in ended.stderr
    assert "was not asked for (--offline, and no --mirror DIRECTORY)" in ended.stderr


def test_an_altered_file_of_the_directory_is_refused(place: Path) -> None:
    """What was brought along is checked like what was downloaded."""
    vendor(place)
    path = place / "away" / f"{inputs.RELEASE}.tar.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    sources = Sources(
        lock=place / "sources.lock",
        cache=place / "empty",
        mirror=str(place / "away"),
        progress=Silent(),
        offline=True,
    )
    with pytest.raises(InputError, match=rf"{inputs.RELEASE}\.tar\.gz: sha256 does not match"):
        sources.fetch(WANT)


def test_all_that_cannot_be_had_is_named_at_once(place: Path, site: Site) -> None:
    """Each with its reason; the rest is there all the same."""
    del site.pages[f"/alpine-virt-{VIRT}-{HOST}.iso"]
    with pytest.raises(InputError, match=rf"alpine-virt {VIRT} .*HTTP 404(?s:.)*all else is in"):
        vendor(place)
    assert (place / "away" / f"{inputs.RELEASE}.tar.gz").exists()


def test_a_release_given_by_hand_comes_along(place: Path, site: Site) -> None:
    """A file for --base need not be pinned."""
    del site.pages[f"/alpine-virt-{VIRT}-{HOST}.iso"]
    vendor(place, base=place / "medium.iso")
    assert (place / "away/medium.iso").exists()


def test_what_is_in_the_cache_is_not_downloaded_again(place: Path, site: Site) -> None:
    """A second vendoring with a warm cache asks nobody for pinned files."""
    for want in (WANT,):
        Sources(lock=place / "sources.lock", cache=place / "cache", progress=Silent()).fetch(want)
    page = site.pages[f"/rel/v3.5.16/{inputs.RELEASE}.tar.gz"]
    before = len(page.asked)
    vendor(place)
    assert before == len(page.asked)


def test_what_takes_minutes_to_make_comes_along(tmp_path: Path) -> None:
    """A made system is packed with its holes, and is the same again; a damaged one is refused."""
    need("zstd", package="zstd")
    home = tmp_path / "cache/debian-abc"
    home.mkdir(parents=True)
    with (home / "root.ext4").open("wb") as image:
        image.write(b"begin")
        image.truncate(64 << 20)
    packed = made.pack(home, tmp_path / "away")
    assert packed.stat().st_size < 1 << 20
    there = tmp_path / "elsewhere/debian-abc"
    assert made.unpack(there, str(tmp_path / "away"))
    assert (there / "root.ext4").read_bytes() == (home / "root.ext4").read_bytes()
    assert not made.unpack(tmp_path / "elsewhere/debian-def", str(tmp_path / "away"))
    packed.write_bytes(packed.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be used"):
        made.unpack(tmp_path / "third/debian-abc", str(tmp_path / "away"))


def test_offline_with_a_url_is_refused(tmp_path: Path) -> None:
    """A mirror that is on the network contradicts it."""
    with pytest.raises(UsageError, match=r"https://mirror\.example is not a directory"):
        Sources(
            lock=tmp_path / "sources.lock",
            cache=tmp_path,
            mirror="https://mirror.example",
            progress=Silent(),
            offline=True,
        )
