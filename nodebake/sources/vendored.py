"""Downloads without a network: from a directory that has everything by its host and path, and into one.

`./invoke vendor` fills it, as `wget --mirror` would: `DIR/deb.debian.org/debian/dists/...`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from nodebake.sources.cache import check
from nodebake.sources.download import UnreachableError

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.progress import Progress


class Carrier(Protocol):
    """What brings files: over the network, out of a directory, or both."""

    @property
    def progress(self) -> Progress:
        """Who is told."""

    def save(self, url: str, to: Path, *, sha256: str, size: int | None = None) -> None:
        """Bring `url` to the file `to`; see `Downloader.save`."""

    def read(self, url: str, *, limit: int) -> bytes:
        """Return the bytes of a small file; see `Downloader.read`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The directory alone; the network is not asked.

    Attributes:
        progress: who is told.
        directory: what was vendored; None if there is nothing but the cache.
    """

    progress: Progress
    directory: Path | None

    def save(self, url: str, to: Path, *, sha256: str, size: int | None = None) -> None:
        """Copy a file; the arguments are those of `Downloader.save`.

        Raises:
            UnreachableError: it is not there.
            InputError: it is not the file that it must be.
        """
        del size
        source, part = self._place(url), to.with_name(f"{to.name}.part")
        shutil.copyfile(source, part)
        check(part, sha256, todo=f"{source} is not what is wanted: vendor it again, where there is a network")
        part.replace(to)

    def read(self, url: str, *, limit: int) -> bytes:
        """Return the bytes of a small file.

        Raises:
            UnreachableError: it is not there, or has more than `limit` bytes.
        """
        content = self._place(url).read_bytes()
        if len(content) > limit:
            raise UnreachableError(f"{url} has more than {limit} bytes")
        return content

    def _place(self, url: str) -> Path:
        if self.directory is None:
            raise UnreachableError(f"{url} was not asked for (--offline, and no --mirror DIRECTORY)")
        place = place_of(url, self.directory)
        if not place.is_file():
            raise UnreachableError(f"{self.directory} has no {place.relative_to(self.directory)} (--offline)")
        return place


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Brings files over the network, and leaves a copy of each in a directory.

    Attributes:
        carrier: what brings them.
        directory: where the copies go.
    """

    carrier: Carrier
    directory: Path

    @property
    def progress(self) -> Progress:
        """Who is told."""
        return self.carrier.progress

    def save(self, url: str, to: Path, *, sha256: str, size: int | None = None) -> None:
        """Bring a file; arguments and errors are those of `Downloader.save`."""
        self.carrier.save(url, to, sha256=sha256, size=size)
        copy(to, place_of(url, self.directory))

    def read(self, url: str, *, limit: int) -> bytes:
        """Return the bytes of a small file; arguments and errors are those of `Downloader.read`."""
        content = self.carrier.read(url, limit=limit)
        place = place_of(url, self.directory)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return content


def place_of(url: str, directory: Path) -> Path:
    """Return where a directory has what lies at `url`."""
    parts = urlsplit(url)
    return directory / (parts.hostname or "") / unquote(parts.path).lstrip("/")


def copy(source: Path, to: Path) -> None:
    """Copy a file, whole or not at all."""
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f".{to.name}.part")
    shutil.copyfile(source, part)
    part.replace(to)
