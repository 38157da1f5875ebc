"""Pins beside upstream's lists, served by a server of its own and shaped as upstream's are."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from nodebake.console import confirmed_as_text
from nodebake.errors import InputError, UsageError
from nodebake.progress import Silent
from nodebake.sources.confirming import add, check, confirm
from nodebake.sources.download import Downloader
from nodebake.sources.lock import read
from tests.serving import Page, Site, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASK = Downloader(progress=Silent(), pauses=())
ONE, TWO, OTHER = (hashlib.sha256(text).hexdigest() for text in (b"one", b"two", b"other"))
LOCK = """\
# Kept as it is.
schema = 1
[etcd]
url = "{url}/v{{version}}/etcd-v{{version}}-linux-{{arch}}.tar.gz"
sums = "{url}/v{{version}}/SHA256SUMS"
members = "{{file}}"
files = ["etcd"]
arches = {{aarch64 = "arm64", x86_64 = "amd64"}}

[etcd.releases."3.5.16"]
sha256.aarch64 = "{one}"
sha256.x86_64 = "{two}"
confidence = "A"
confirmed = false
also = "a kolla table, a Nix expression"

[etcd.releases."3.5.15"]
sha256.x86_64 = "{two}"
confidence = "B"  # a comment
confirmed = false

[k3s]
url = "{url}/k3s/v{{version}}/k3s{{arch}}"
sums = {{aarch64 = "{url}/k3s/v{{version}}/sha256sum-arm64.txt"}}
files = ["k3s"]
arches = {{aarch64 = "-arm64"}}
[k3s.releases."1.31.4+k3s1"]
sha256.aarch64 = "{one}"
confidence = "C"
confirmed = false

[alpine-rpi]
url = "{url}/v{{series}}/alpine-rpi-{{version}}-{{arch}}.tar.gz"
sums = "{url}/v{{series}}/alpine-rpi-{{version}}-{{arch}}.tar.gz.sha256"
files = []
arches = {{aarch64 = "aarch64"}}
[alpine-rpi.releases."3.20.3"]
sha256.aarch64 = "{one}"
confidence = "C"
confirmed = false

[flannel]
url = "{url}/flanneld-{{arch}}"
files = ["flanneld"]
arches = {{x86_64 = "amd64"}}
[flannel.releases."0.27.4"]
sha256.x86_64 = "{one}"
confidence = "C"
confirmed = false

[debian]
mirror = "http://debian.invalid"
suite = "trixie"
component = "main"
runtime = "libc6"
keyrings = ["/dev/null"]
arches = {{x86_64 = "amd64"}}
"""


@pytest.fixture
def site() -> Iterator[Site]:
    """Run a server with lists in the two forms that upstream has."""
    with serving() as running:
        sums = f"{ONE}  etcd-v3.5.16-linux-arm64.tar.gz\n{TWO}  etcd-v3.5.16-linux-amd64.tar.gz\n"
        running.pages["/v3.5.16/SHA256SUMS"] = Page(body=sums.encode())
        k3s = f"{OTHER}  k3s-airgap-images-arm64.tar\n{ONE}  k3s-arm64\n"
        running.pages["/k3s/v1.31.4%2Bk3s1/sha256sum-arm64.txt"] = Page(body=k3s.encode())
        running.pages["/v3.20/alpine-rpi-3.20.3-aarch64.tar.gz.sha256"] = Page(
            body=f"{ONE}  alpine-rpi-3.20.3-aarch64.tar.gz\n".encode()
        )
        yield running


@pytest.fixture
def lock(site: Site, tmp_path: Path) -> Path:
    """Return a lock file whose upstream is the server."""
    path = tmp_path / "sources.lock"
    path.write_text(LOCK.format(url=site.url, one=ONE, two=TWO))
    return path


def test_what_upstream_lists_is_confirmed(lock: Path) -> None:
    """Each pin has a verdict, and the number of sources that have its value; upstream's own is one more."""
    rows = {(row.name, row.version, row.arch): (row.verdict, row.sources) for row in confirm(lock, ASK)}
    assert rows == {
        ("etcd", "3.5.16", "aarch64"): ("confirmed", 4),
        ("etcd", "3.5.16", "x86_64"): ("confirmed", 4),
        ("etcd", "3.5.15", "x86_64"): ("not asked", 1),
        ("k3s", "1.31.4+k3s1", "aarch64"): ("confirmed", 2),
        ("alpine-rpi", "3.20.3", "aarch64"): ("confirmed", 2),
        ("flannel", "0.27.4", "x86_64"): ("no list", 1),
    }


def test_only_what_is_confirmed_changes_in_the_file(lock: Path, site: Site) -> None:
    """A confirmed release says so; all other lines are what they were; a second run changes nothing."""
    before = LOCK.format(url=site.url, one=ONE, two=TWO).splitlines()
    confirm(lock, ASK)
    after = lock.read_text().splitlines()
    changed = [(at, line) for at, (old, line) in enumerate(zip(before, after, strict=True)) if old != line]
    assert ["confirmed = true"] * 3 == [line for _, line in changed]
    assert [before.index("confirmed = false"), 29, 39] == [at for at, _ in changed]
    text = lock.read_bytes()
    confirm(lock, ASK)
    assert text == lock.read_bytes()


def test_a_contradicted_pin_is_an_error_and_stays(lock: Path, site: Site) -> None:
    """Both values are told; nothing takes the place of a pin by itself."""
    sums = f"{OTHER}  etcd-v3.5.16-linux-arm64.tar.gz\n{TWO}  etcd-v3.5.16-linux-amd64.tar.gz\n"
    site.pages["/v3.5.16/SHA256SUMS"].body = sums.encode()
    rows = confirm(lock, ASK, name="etcd")
    with pytest.raises(InputError, match=rf"for aarch64: pinned {ONE}\n  upstream's list has {OTHER}"):
        check(rows)
    assert "confirmed = true" not in lock.read_text()
    assert "contradicted" in confirmed_as_text(rows)


def test_a_host_that_is_gone_is_asked_once(lock: Path, site: Site) -> None:
    """Forty pins of one host that does not resolve are one question."""
    lock.write_text(lock.read_text().replace(f'sums = "{site.url}', 'sums = "https://upstream.invalid'))
    rows = confirm(lock, ASK)
    told = {row.why for row in rows if row.verdict == "not asked"}
    assert {"upstream.invalid could not be reached (name does not resolve)"} == told


def test_a_new_release_is_pinned_from_upstreams_list(lock: Path, site: Site) -> None:
    """For all architectures, with where it comes from; and then it is in the lock."""
    sums = f"{OTHER}  etcd-v3.5.17-linux-arm64.tar.gz\n{TWO} *etcd-v3.5.17-linux-amd64.tar.gz\n"
    site.pages["/v3.5.17/SHA256SUMS"] = Page(body=sums.encode())
    add(lock, ASK, name="etcd", version="3.5.17")
    pins = read(lock).pins
    assert [OTHER, TWO] == [pins["etcd", "3.5.17", arch].sha256 for arch in ("aarch64", "x86_64")]
    assert 'confidence = "B"\nconfirmed = true\n' in lock.read_text()


def test_what_cannot_be_pinned_is_said(lock: Path, site: Site) -> None:
    """No such input, no list, pinned already, not on the list, no such release."""
    site.pages["/v3.5.18/SHA256SUMS"] = Page(body=f"{ONE}  etcd-v3.5.18-linux-arm64.tar.gz\n".encode())
    for name, version, error, said in (
        ("ectd", "1", UsageError, "no input ectd"),
        ("flannel", "1", UsageError, "publishes no list"),
        ("etcd", "3.5.16", UsageError, "pinned already"),
        ("etcd", "3.5.18", InputError, "has no etcd-v3.5.18-linux-amd64"),
        ("etcd", "3.9.9", InputError, "cannot be had: .*HTTP 404"),
    ):
        with pytest.raises(error, match=said):
            add(lock, ASK, name=name, version=version)
    assert LOCK.format(url=site.url, one=ONE, two=TWO) == lock.read_text()
