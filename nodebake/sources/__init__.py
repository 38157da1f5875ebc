"""From `sources.lock` to verified, inspected programs: cache, mirror, upstream, Debian's archive."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nodebake.errors import InputError
from nodebake.manifest import UsedInput
from nodebake.sources.cache import Cache, Resolved
from nodebake.sources.lock import Lock, read
from nodebake.sources.model import Fetched, Linking, Want

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.progress import Progress
    from nodebake.sources.lock import Pin
    from nodebake.sources.obtain import Obtainer

__all__ = ["Fetched", "Linking", "Sources", "Want"]


class Sources:
    """Where programs come from.

    Args:
        lock: the lock file.
        cache: the cache's directory; made when it is needed.
        mirror: a directory or URL that has the files by their upstream names, flat or by release.
        progress: is told of downloads.
    """

    def __init__(self, *, lock: Path, cache: Path, mirror: str | None = None, progress: Progress) -> None:
        self._path, self._root, self._mirror, self._progress = lock, cache, mirror, progress

    def file(self, want: Want) -> tuple[Path, UsedInput]:
        """Return a whole pinned file, verified, and where it comes from: cache, mirror or upstream.

        Raises:
            InputError: it is not pinned, does not verify, or cannot be had.
        """
        lock = read(self._path)
        pin, cache = lock.pin(want), Cache(self._root)
        try:
            path = _obtainer(lock, cache, self._progress).whole(want, pin, self._mirror)
        except OSError as error:
            raise self._unusable(error) from error
        used = UsedInput(
            name=want.name, version=want.version, arch=want.arch, source=pin.url, sha256=pin.sha256
        )
        return path, used

    def fetch(self, want: Want) -> Fetched:
        """Return the programs of `want`, from the first source that has them.

        The order: the cache, the mirror, what the cache has from Debian, upstream, Debian's archive.

        Raises:
            InputError: it is not pinned, does not verify, is for another machine, or cannot be had.
        """
        lock = read(self._path)
        pin = lock.pin(want)
        try:
            return _Fetch(want, pin, lock, Cache(self._root), self._progress).run(self._mirror)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> InputError:
        return InputError(
            f"the cache {self._root} cannot be used: {error}", hint="see to its space and permissions"
        )


class _Fetch:
    """One want on its way through the sources."""

    def __init__(self, want: Want, pin: Pin, lock: Lock, cache: Cache, progress: Progress) -> None:
        self._want, self._pin, self._lock, self._cache, self._progress = want, pin, lock, cache, progress
        self._key = f"{want.name}-{want.version}-{want.arch}-{'+'.join(sorted(want.files))}"

    def run(self, mirror: str | None) -> Fetched:
        debian = self._lock.debian.origin
        fetched = self._recall("pinned", self._pin.sha256)
        if fetched is None and not mirror and not self._cache.archive(self._pin.name).exists():
            fetched = self._recall("debian", debian)
        return self._for_target(fetched or self._obtain(mirror))

    def _for_target(self, fetched: Fetched) -> Fetched:
        """Leave out Debian's C library, which was only looked at, where the target has one of its own."""
        if self._want.libc == "musl":
            return fetched
        package = self._lock.debian.runtime
        return replace(fetched, runtime={}, used=tuple(one for one in fetched.used if one.name != package))

    def _obtain(self, mirror: str | None) -> Fetched:
        obtainer = _obtainer(self._lock, self._cache, self._progress)
        here = self._cache.archive(self._pin.name).exists()
        whys: list[str] = []
        if not here and mirror:
            whys.append(obtainer.from_mirror(mirror, self._pin))
            here = not whys[-1]
            fetched = None if here else self._recall("debian", self._lock.debian.origin)
            if fetched:
                return fetched
        if not here:
            whys.append(obtainer.from_upstream(self._pin))
            here = not whys[-1]
        if here:
            return self._keep("pinned", obtainer.pinned(self._want, self._pin))
        return self._keep("debian", obtainer.from_debian(self._want, "; ".join(whys)))

    def _recall(self, kind: str, origin: str) -> Fetched | None:
        key = f"{self._key}.{kind}"
        resolved = self._cache.recall(key, origin=origin)
        fetched = _load(self._cache, resolved) if resolved else None
        if resolved and fetched:
            self._cache.renew(key, resolved)
        return fetched

    def _keep(self, kind: str, resolved: Resolved) -> Fetched:
        self._cache.remember(f"{self._key}.{kind}", resolved)
        fetched = _load(self._cache, resolved)
        if fetched is None:
            raise InputError("the cache was emptied while it was in use", hint="build again")
        return fetched


def _obtainer(lock: Lock, cache: Cache, progress: Progress) -> Obtainer:
    from nodebake.sources import download, obtain  # noqa: PLC0415 - half a second that most builds save

    downloader = download.Downloader(progress=progress)
    return obtain.Obtainer(lock=lock, cache=cache, downloader=downloader)


def _load(cache: Cache, resolved: Resolved) -> Fetched | None:
    files = {name: cache.get(stored) for name, stored in resolved.files.items()}
    runtime = {path: cache.get(stored) for path, stored in resolved.runtime.items()}
    whole = {name: content for name, content in files.items() if content is not None}
    libraries = {path: content for path, content in runtime.items() if content is not None}
    if len(whole) < len(files) or len(libraries) < len(runtime):
        return None
    return Fetched(
        files=whole,
        runtime=libraries,
        used=resolved.used,
        fallback=resolved.fallback,
        linking=resolved.linking,
    )
