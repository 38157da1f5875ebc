"""From `sources.lock` to verified, inspected programs: cache, mirror, upstream, Debian's archive."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from nodebake.errors import InputError, UsageError
from nodebake.manifest import UsedInput
from nodebake.sources.cache import Cache, Resolved, mismatch
from nodebake.sources.lock import Lock, read
from nodebake.sources.model import Fetched, Linking, Want

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nodebake.progress import Progress
    from nodebake.sources.lock import Pin
    from nodebake.sources.obtain import Obtainer

__all__ = ["Fetched", "Linking", "Sources", "Want"]


class Places(Protocol):
    """What the options of every room that wants programs say about where they come from; see `Sources`."""

    @property
    def lock(self) -> Path: ...

    @property
    def cache(self) -> Path: ...

    @property
    def mirror(self) -> str | None: ...

    @property
    def offline(self) -> bool: ...


class Sources:
    """Where programs come from.

    Args:
        lock: the lock file.
        cache: the cache's directory; made when it is needed.
        mirror: a directory or URL that has the files by their upstream names, flat or by release.
        progress: is told of downloads.
        offline: never ask the network; a mirror must be a directory then.
        collect: a directory that gets a copy of all that is downloaded.
    """

    def __init__(
        self,
        *,
        lock: Path,
        cache: Path,
        mirror: str | None = None,
        progress: Progress,
        offline: bool = False,
        collect: Path | None = None,
    ) -> None:
        self._path, self._root, self._mirror, self._progress = lock, cache, mirror, progress
        self._offline, self._collect = offline, collect
        if offline and mirror and not Path(mirror).is_dir():
            raise UsageError(f"--offline: the mirror {mirror} is not a directory", hint="see ./invoke vendor")

    @classmethod
    def of(cls, places: Places, progress: Progress) -> Self:
        """Return the sources that a room's options name."""
        return cls(
            lock=places.lock,
            cache=places.cache,
            mirror=places.mirror,
            progress=progress,
            offline=places.offline,
        )

    def file(self, want: Want) -> tuple[Path, UsedInput]:
        """Return a whole pinned file, verified, and where it comes from: cache, mirror or upstream.

        Raises:
            InputError: it is not pinned, does not verify, or cannot be had.
        """
        lock = read(self._path)
        pin, cache = lock.pin(want), Cache(self._root)
        try:
            path = self.obtainer(lock, cache).whole(want, pin, self._mirror)
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
        if want.whole:
            return self._whole(want)
        lock = read(self._path)
        pins = lock.choices(want)
        try:
            return _Fetch(want, pins, lock, Cache(self._root), self).run(self._mirror)
        except OSError as error:
            raise self._unusable(error) from error

    def build(self, name: str, *, version: str = "", arch: str) -> str:
        """Build a pinned release from source into the cache; return what it is, for people.

        Args:
            name: the input's.
            version: of the release; by default the newest that can be built.
            arch: of the target.

        Raises:
            InputError: there is no Go, the source cannot be had or is not the pinned one, or what was
                built has no pin or another hash than the pin.
            BuildError: it does not compile.
        """
        from nodebake.sources import golang  # noqa: PLC0415 - few need it

        lock = read(self._path)
        version = version or lock.newest_recipe(name)
        recipe, what = lock.recipe(name, version), f"{name} {version} for {arch}"
        task = f"building {what} with Go {recipe.go}"
        self._progress.start(task)
        content = golang.build(recipe, arch, name=what)
        self._progress.finish(task)
        pin, sha256 = lock.built.get((name, version, arch)), hashlib.sha256(content).hexdigest()
        if pin is None:
            raise InputError(
                f"{what} was built, but is not pinned in {self._path.name}",
                hint=f'to trust it, add to {name}.releases."{version}".built: sha256.{arch} = "{sha256}"',
            )
        if pin.sha256 != sha256:
            todo = (
                "the same source and toolchain give the same bytes: find out what differs, and do not use it"
            )
            raise mismatch(pin.name, expected=pin.sha256, got=sha256, todo=todo)
        try:
            Cache(self._root).keep(pin.name, content)
        except OSError as error:
            raise self._unusable(error) from error
        return f"{what}: {self._root / 'archives' / pin.name}"

    def obtainer(self, lock: Lock, cache: Cache) -> Obtainer:
        """Return what gets inputs that are not in the cache yet."""
        from nodebake.sources import download, obtain, vendored  # noqa: PLC0415 - half a second that most builds save

        carrier: vendored.Carrier = download.Downloader(progress=self._progress)
        if self._offline:
            carrier = vendored.Shelf(
                progress=self._progress, directory=Path(self._mirror) if self._mirror else None
            )
        return obtain.Obtainer(lock=lock, cache=cache, downloader=carrier, collect=self._collect)

    @property
    def progress(self) -> Progress:
        """Who is told."""
        return self._progress

    def _whole(self, want: Want) -> Fetched:
        path, used = self.file(want)
        try:
            files = {want.files[0]: path.read_bytes()}
        except OSError as error:
            raise self._unusable(error) from error
        return Fetched(files=files, runtime={}, used=(used,), fallback="", linking="static")

    def _unusable(self, error: OSError) -> InputError:
        return InputError(
            f"the cache {self._root} cannot be used: {error}", hint="see to its space and permissions"
        )


class _Fetch:
    """One want on its way through the sources."""

    def __init__(self, want: Want, pins: Sequence[Pin], lock: Lock, cache: Cache, sources: Sources) -> None:
        self._want, self._pins, self._lock, self._cache, self._sources = want, pins, lock, cache, sources
        self._key = f"{want.name}-{want.version}-{want.arch}-{'+'.join(sorted(want.files))}"

    def run(self, mirror: str | None) -> Fetched:
        known = (self._recall(_kind(pin), pin.sha256) for pin in self._pins)
        fetched = next((one for one in known if one), None)
        if fetched is None and not mirror and self._here() is None:
            fetched = self._recall("debian", self._lock.debian.origin)
        return self._for_target(fetched or self._obtain(mirror))

    def _for_target(self, fetched: Fetched) -> Fetched:
        """Leave out Debian's C library, which was only looked at, where the target has one of its own."""
        if self._want.libc == "musl":
            return fetched
        package = self._lock.debian.runtime
        return replace(fetched, runtime={}, used=tuple(one for one in fetched.used if one.name != package))

    def _obtain(self, mirror: str | None) -> Fetched:
        obtainer = self._sources.obtainer(self._lock, self._cache)
        found, whys = self._here(), list[str]()
        if found is None and mirror:
            found = self._first(self._pins, lambda pin: obtainer.from_mirror(mirror, pin), whys)
            fetched = None if found else self._recall("debian", self._lock.debian.origin)
            if fetched:
                return fetched
        if found is None:
            upstream = [pin for pin in self._pins if not pin.built]
            found = self._first(upstream, obtainer.from_upstream, whys)
        if found:
            return self._keep(_kind(found), obtainer.pinned(self._want, found))
        why = "; ".join(whys) or "upstream's file is not pinned, and it was not built here"
        return self._keep("debian", obtainer.from_debian(self._want, why))

    def _here(self) -> Pin | None:
        told = self._sources.progress
        return next((pin for pin in self._pins if self._cache.has(pin.name, pin.sha256, told)), None)

    @staticmethod
    def _first(pins: Sequence[Pin], bring: Callable[[Pin], str], whys: list[str]) -> Pin | None:
        """Return the first pin whose file could be brought into the cache, and note why others could not."""
        for pin in pins:
            whys.append(bring(pin))
            if not whys[-1]:
                return pin
        return None

    def _recall(self, kind: str, origin: str) -> Fetched | None:
        key = f"{self._key}.{kind}"
        resolved = self._cache.recall(key, origin=origin)
        fetched = _load(self._cache, resolved) if resolved else None
        if resolved and fetched:
            self._cache.renew(key, resolved)
        elif resolved:
            self._sources.progress.note(
                f"the cache has {self._want} no more as it was stored: it is taken anew"
            )
        return fetched

    def _keep(self, kind: str, resolved: Resolved) -> Fetched:
        self._cache.remember(f"{self._key}.{kind}", resolved)
        fetched = _load(self._cache, resolved)
        if fetched is None:
            raise InputError("the cache was emptied while it was in use", hint="build again")
        return fetched


def _kind(pin: Pin) -> str:
    return "built" if pin.built else "pinned"


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
