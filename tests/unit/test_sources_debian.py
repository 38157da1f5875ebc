"""Debian's archive: nothing is taken from it that its keys did not sign."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.errors import InputError
from nodebake.progress import Silent
from nodebake.sources import Fetched, Sources, Want, signature
from tests.need import need
from tests.serving import Page, Site, serving
from tests.unit.inputs import WANT, busybox, write_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ZEROS = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A throwaway signing key: GnuPG's home and the exported keyring."""

    home: Path
    keyring: Path

    def sign(self, text: str) -> bytes:
        """Return `text` as an InRelease file."""
        argv: list[str | Path] = ["gpg", "--homedir", self.home, "--batch", "--yes", "--clearsign"]
        return run(argv, stdin=text.encode())


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Key, Key]:
    """Return two keys: one to trust, and a forger's."""
    need("gpg", package="gpg")
    need("gpgv", package="gpgv")
    return make_key(tmp_path_factory.mktemp("k")), make_key(tmp_path_factory.mktemp("f"))


def make_key(home: Path) -> Key:
    """Make a key without a pass phrase."""
    home.chmod(0o700)
    gpg: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--quiet"]
    run([*gpg, "--passphrase", "", "--quick-generate-key", "test <test@example.com>", "ed25519", "sign", "0"])
    (home / "keyring.gpg").write_bytes(run([*gpg, "--export"]))
    return Key(home=home, keyring=home / "keyring.gpg")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A fake archive on a local server, and a lock file that names it."""

    site: Site
    key: Key
    directory: Path
    version: str = "3.5.16-4+b7"
    valid_until: str = ""
    suite: str = "trixie"

    def fetch(self, want: Want = WANT) -> Fetched:
        """Write the archive and fetch from it, with a cache that lasts as long as the directory."""
        packages = "\n".join(
            self.package(name, self.version, program)
            for name, program in (("aaa", b""), ("etcd-client", busybox()), ("etcd-server", busybox()))
        )
        self.index(packages)
        return self.sources().fetch(want)

    def sources(self) -> Sources:
        """Return sources that know this archive only; upstream's host does not resolve."""
        rings = (f"{self.directory}/none.gpg", str(self.key.keyring))
        write_lock(
            self.directory,
            ZEROS,
            "https://upstream.invalid",
            debian=f"{self.site.url}/debian",
            keyrings=rings,
        )
        return Sources(
            lock=self.directory / "sources.lock", cache=self.directory / "cache", progress=Silent()
        )

    def package(self, name: str, version: str, program: bytes) -> str:
        """Put a package into the pool and return its stanza."""
        content = deb(f"./usr/bin/{'etcdctl' if name == 'etcd-client' else 'etcd'}", program)
        path = f"pool/{name}_{version}_arch.deb"
        self.site.pages[f"/debian/{path}"] = Page(body=content)
        sha256 = hashlib.sha256(content).hexdigest()
        return (
            f"Package: {name}\nVersion: {version}\nDescription: x\n more: y\n"
            f"Filename: {path}\nSize: {len(content)}\nSHA256: {sha256}\n"
        )

    def index(self, packages: str, signer: Key | None = None) -> None:
        """Put the indexes there, signed."""
        packed = lzma.compress(packages.encode())
        sha256, where = hashlib.sha256(packed).hexdigest(), "/debian/dists/trixie"
        until = f"Valid-Until: {self.valid_until}\n" if self.valid_until else ""
        text = (
            f"Origin: Test\nCodename: {self.suite}\n{until}Acquire-By-Hash: yes\nMD5Sum:\n x 1 y\nSHA256:\n"
            f" {sha256} {len(packed)} main/binary-host/Packages.xz\n"
        )
        self.site.pages[f"{where}/main/binary-host/by-hash/SHA256/{sha256}"] = Page(body=packed)
        self.site.pages[f"{where}/InRelease"] = Page(body=(signer or self.key).sign(text))


@pytest.fixture
def world(keys: tuple[Key, Key], tmp_path: Path) -> Iterator[World]:
    """Return an archive whose key is trusted."""
    with serving() as site:
        yield World(site=site, key=keys[0], directory=tmp_path)


@cache
def deb(path: str, content: bytes) -> bytes:
    """Return a package as dpkg-deb writes it (deb(5))."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz", preset=0) as tar:
        info = tarfile.TarInfo(path)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    return b"!<arch>\n" + b"".join(
        f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(part):<10}`\n".encode()
        + part
        + b"\n" * (len(part) % 2)
        for name, part in parts.items()
    )


def test_what_a_trusted_key_signed_is_used_and_told(world: World) -> None:
    """The programs come from the packages of the index, and the reason is in one line."""
    fetched = world.fetch()
    assert fetched.files == {"etcd": busybox(), "etcdctl": busybox()}
    assert [(used.name, used.version) for used in fetched.used] == [
        ("etcd-client", "3.5.16-4+b7"),
        ("etcd-server", "3.5.16-4+b7"),
    ]
    assert fetched.fallback == (
        "upstream.invalid could not be reached (name does not resolve); "
        "etcd 3.5.16-4+b7 from Debian trixie instead"
    )
    assert (fetched.linking, fetched.runtime) == ("static", {})


def test_what_was_fetched_once_is_had_offline(world: World) -> None:
    """The second build asks nobody."""
    first = world.fetch()
    world.site.pages.clear()
    assert world.sources().fetch(WANT) == first


def test_a_package_that_moved_is_found_by_the_index_of_the_day(world: World) -> None:
    """After a point release the new index is read, not an old path."""
    moved = replace(world, version="3.5.20-1")
    assert {used.version for used in moved.fetch().used} == {"3.5.20-1"}


@pytest.mark.parametrize("version", ["3.5.15-9", "3.6.0-1", "3.5.16~rc1-1", "1:3.4.30-1", "git"])
def test_another_series_or_an_older_version_is_refused_with_ways_out(world: World, version: str) -> None:
    """It says what the archive has, and what the user can do."""
    with pytest.raises(InputError, match=r"Debian trixie has .*, which cannot stand for it\n.*--mirror"):
        replace(world, version=version).fetch()


def test_a_forged_signature_is_refused(world: World, keys: tuple[Key, Key]) -> None:
    """A key that is not in the keyring signs for nobody."""
    world.index("", signer=keys[1])
    with pytest.raises(InputError, match="is not signed by a key of Debian's archive"):
        world.sources().fetch(WANT)


def test_a_changed_index_is_refused(world: World) -> None:
    """One letter changed after signing spoils the signature."""
    world.index("")
    page = world.site.pages["/debian/dists/trixie/InRelease"]
    page.body = page.body.replace(b"Origin: Test", b"Origin: Tset")
    with pytest.raises(InputError, match="is not signed"):
        world.sources().fetch(WANT)


def test_text_outside_the_signature_does_not_count(world: World) -> None:
    """What is appended to a signed index is not read as part of it."""
    world.index("")
    page = world.site.pages["/debian/dists/trixie/InRelease"]
    page.body = b"Codename: forged\n" + page.body
    with pytest.raises(InputError):
        world.sources().fetch(WANT)


def test_an_expired_index_is_refused_with_a_word_on_the_clock(world: World) -> None:
    """A replayed index, or a host whose clock is off."""
    old = replace(world, valid_until="Sat, 01 Jan 2022 00:00:00 UTC")
    with pytest.raises(InputError, match=r"valid until Sat, 01 Jan 2022(?s:.*)clock is right"):
        old.fetch()


def test_an_index_that_is_still_valid_is_used(world: World) -> None:
    """A date to come does not stand in the way."""
    assert replace(world, valid_until="Sat, 01 Jan 2122 00:00:00 UTC").fetch().files["etcd"] == busybox()


def test_the_index_of_another_suite_is_refused(world: World) -> None:
    """A signed index is no proof that it is the one that was asked for."""
    with pytest.raises(InputError, match="is the index of bullseye, another suite"):
        replace(world, suite="bullseye").fetch()


def test_a_package_that_is_not_the_indexs_is_refused(world: World) -> None:
    """A hash mismatch ends the build; no other source is tried."""
    stanza = world.package("etcd-server", "3.5.16-1", busybox())
    world.index(stanza + "\n" + world.package("etcd-client", "3.5.16-1", busybox()))
    page = world.site.pages["/debian/pool/etcd-server_3.5.16-1_arch.deb"]
    page.body = page.body[:-9] + b"something"
    with pytest.raises(InputError, match=r"etcd-server_3\.5\.16-1_arch\.deb: sha256 does not match"):
        world.sources().fetch(WANT)


def test_a_keyring_that_is_not_there_names_its_package(world: World) -> None:
    """The user learns what to install."""
    world.index("")
    lost = replace(world, key=replace(world.key, keyring=world.directory / "lost.gpg"))
    with pytest.raises(InputError, match="apt-get install --yes debian-archive-keyring"):
        lost.sources().fetch(WANT)


def test_an_archive_that_cannot_be_reached_is_named_with_upstream(world: World) -> None:
    """Both reasons, and the file that the user can bring."""
    with pytest.raises(
        InputError,
        match=r"upstream\.invalid could not .*; http://.*/InRelease could not(?s:.*)etcd-v3\.5\.16",
    ):
        world.sources().fetch(WANT)


def test_a_package_without_the_program_is_refused(world: World) -> None:
    """A package that was split is an error with its name."""
    stanzas = [world.package("etcd-client", "3.5.16-1", b""), world.package("zzz", "1", b"")]
    world.index("\n".join(stanzas))
    with pytest.raises(InputError, match="Debian trixie has no etcd-server"):
        world.sources().fetch(WANT)


def test_sqv_is_as_good_where_there_is_no_gpgv(keys: tuple[Key, Key]) -> None:
    """It checks the detached signature, and refuses a forger's."""
    need("sqv", package="sqv")

    def read(name: str, key: Key) -> bytes:
        argv: list[str | Path] = ["gpg", "--homedir", key.home, "--batch", "--detach-sign", "--armor"]
        return b"Codename: trixie\n" if name == "Release" else run(argv, stdin=b"Codename: trixie\n")

    text = signature.with_sqv(lambda name: read(name, keys[0]), keys[0].keyring)
    assert text == "Codename: trixie\n"
    with pytest.raises(InputError, match="is not signed by a key of Debian's archive"):
        signature.with_sqv(lambda name: read(name, keys[1]), keys[0].keyring)


@pytest.mark.parametrize(
    ("status", "accepted"),
    [
        (["NEWSIG", "GOODSIG A x", "VALIDSIG F d 1 0 4 0 1 8 01 F"], True),
        (
            [
                "NEWSIG",
                "ERRSIG B 1 8 01 1 9",
                "NO_PUBKEY B",
                "NEWSIG",
                "GOODSIG A",
                "VALIDSIG F d 1 0 4 0 1 10 01",
            ],
            True,
        ),
        (["NEWSIG", "ERRSIG B 1 8 01 1 9", "NO_PUBKEY B"], False),
        (["NEWSIG", "GOODSIG A x", "VALIDSIG F d 1 0 4 0 1 2 01 F"], False),
        (["NEWSIG", "EXPKEYSIG A x", "VALIDSIG F d 1 0 4 0 1 8 01 F"], False),
        (["NEWSIG", "GOODSIG A", "VALIDSIG F d 1 0 4 0 1 8 01", "NEWSIG", "BADSIG B x"], False),
        (["NEWSIG", "GOODSIG A", "NEWSIG", "VALIDSIG F d 1 0 4 0 1 8 01"], False),
        ([], False),
    ],
)
def test_one_good_signature_is_enough_and_one_bad_too_many(status: list[str], *, accepted: bool) -> None:
    """An older host lacks the newest keys; a weak hash, an expired key, a bad signature do not count."""
    text = "".join(f"[GNUPG:] {line}\n" for line in status)
    assert signature.accepted(text) is accepted
