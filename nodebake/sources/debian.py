"""Debian's archive: signed index, package index, package; no dpkg or apt, and any architecture."""

from __future__ import annotations

import lzma
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from nodebake.errors import InputError
from nodebake.sources import signature
from nodebake.sources.cache import CHUNK, Cache, heal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from nodebake.sources import lock
    from nodebake.sources.vendored import Carrier

INDEX_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A binary package, as the archive's index has it today."""

    name: str
    version: str
    url: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One suite of the archive.

    Attributes:
        settings: the `[debian]` table of the lock file.
        cache: where packages are kept.
        downloader: what fetches.
    """

    settings: lock.Debian
    cache: Cache
    downloader: Carrier

    def find(self, names: AbstractSet[str], arch: str) -> dict[str, Package]:
        """Look packages up in the index of the day, by name; those that are not there are left out.

        Raises:
            UnreachableError: the archive could not be reached.
            InputError: an index is not signed, not whole, or out of date.
        """
        path = f"{self.settings.component}/binary-{self.settings.arches[arch]}/Packages.xz"
        sha256, size, by_hash = _entry(self._release(), path)
        directory = f"{self._suite()}/{path.rpartition('/')[0]}"
        url = f"{directory}/by-hash/SHA256/{sha256}" if by_hash else f"{self._suite()}/{path}"
        packed = self.cache.archive(f"Packages-{sha256}.xz")
        with self.cache.locked(packed.name):
            if not heal(packed, sha256, self.downloader.progress):
                self.downloader.save(url, packed, sha256=sha256, size=size)
            try:
                return {package.name: package for package in self._packages(packed, names)}
            finally:
                packed.unlink()

    def get(self, package: Package) -> bytes:
        """Return a package's verified bytes, from the cache if it is there.

        Raises:
            UnreachableError: it could not be had.
            InputError: it is not what the index says.
        """
        path = self.cache.archive(package.url.rpartition("/")[2])
        with self.cache.locked(path.name):
            if not heal(path, package.sha256, self.downloader.progress):
                self.downloader.save(package.url, path, sha256=package.sha256, size=package.size)
            return path.read_bytes()

    def _suite(self) -> str:
        return f"{self.settings.mirror}/dists/{self.settings.suite}"

    def _release(self) -> str:
        def read(name: str) -> bytes:
            return self.downloader.read(f"{self._suite()}/{name}", limit=INDEX_LIMIT)

        text = signature.signed_text(read, signature.keyring(self.settings.keyrings))
        fields = _fields(text)
        if self.settings.suite not in {fields.get("Codename"), fields.get("Suite")}:
            raise InputError(f"{self._suite()}: is the index of {fields.get('Codename')}, another suite")
        _fresh(fields.get("Valid-Until", ""), self._suite())
        return text

    def _packages(self, packed: Path, names: AbstractSet[str]) -> Iterator[Package]:
        left = set(names)
        try:
            for stanza in _stanzas(packed):
                name = stanza[: stanza.find(b"\n")].removeprefix(b"Package: ").decode()
                if name in left:
                    left.remove(name)
                    yield self._package(_fields(stanza.decode()))
                if not left:
                    return
        except (lzma.LZMAError, EOFError, ValueError, KeyError) as error:
            raise InputError(f"the package index of {self._suite()} cannot be read: {error}") from error

    def _package(self, fields: Mapping[str, str]) -> Package:
        return Package(
            name=fields["Package"],
            version=fields["Version"],
            url=f"{self.settings.mirror}/{fields['Filename']}",
            size=int(fields["Size"]),
            sha256=fields["SHA256"],
        )


def _entry(release: str, path: str) -> tuple[str, int, bool]:
    _, _, sums = release.partition("\nSHA256:\n")
    for line in sums.splitlines():
        if not line.startswith(" "):
            break
        sha256, size, name = line.split()
        if name == path:
            return sha256, int(size), "\nAcquire-By-Hash: yes\n" in release
    raise InputError(f"Debian's archive has no {path}")


def _fields(stanza: str) -> dict[str, str]:
    pairs = (line.partition(": ") for line in stanza.splitlines() if not line.startswith(" "))
    return {key: value.strip() for key, _, value in pairs}


def _fresh(until: str, suite: str) -> None:
    """Refuse an index past its date: only the clock tells a replayed one from today's."""
    try:
        if not until or time.time() < parsedate_to_datetime(until).timestamp():
            return
    except ValueError as error:
        raise InputError(f"{suite}: Valid-Until of its index is no date: {until}") from error
    raise InputError(
        f"{suite}: its index was valid until {until}, which is past",
        hint="see that this machine's clock is right (date), and that the mirror is up to date",
    )


def _stanzas(packed: Path) -> Iterator[bytes]:
    rest = b""
    with lzma.open(packed) as file:
        while block := file.read(CHUNK):
            *whole, rest = (rest + block).split(b"\n\n")
            yield from whole
    if rest.strip():
        yield rest.strip(b"\n")
