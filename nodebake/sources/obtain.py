"""Get what is not in the cache yet: from a mirror, from upstream, or from Debian's archive."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from nodebake.errors import InputError
from nodebake.manifest import UsedInput
from nodebake.sources import archive, elf, runtime
from nodebake.sources.cache import Cache, Resolved, check
from nodebake.sources.debian import Archive, Package
from nodebake.sources.download import UnreachableError
from nodebake.sources.vendored import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nodebake.sources.lock import Lock, Packaged, Pin
    from nodebake.sources.model import Want
    from nodebake.sources.vendored import Carrier


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtainer:
    """What getting an input takes.

    Attributes:
        lock: the pins.
        cache: where everything goes.
        downloader: what fetches.
        collect: a directory that gets a copy of what comes from Debian's archive; None for no copies.
    """

    lock: Lock
    cache: Cache
    downloader: Carrier
    collect: Path | None = None

    def from_mirror(self, mirror: str, pin: Pin) -> str:
        """Bring the pinned file from the user's mirror into the cache; return why not, or nothing.

        Raises:
            InputError: the mirror is no directory or URL, or has another file under that name.
        """
        if urlsplit(mirror).scheme in {"http", "https"}:
            whys = [self._download(f"{mirror.rstrip('/')}/{path}", pin) for path in _places(pin)]
            return "" if "" in whys else whys[0]
        directory = Path(mirror)
        if not directory.is_dir():
            raise InputError(f"--mirror {mirror} is neither a directory nor an http or https URL")
        for path in map(unquote, _places(pin)):
            if (directory / path).is_file():
                self._copy(directory / path, pin)
                return ""
        return f"{mirror} has no {pin.name}"

    def from_upstream(self, pin: Pin) -> str:
        """Download the pinned file from upstream into the cache; return why not, or nothing.

        Raises:
            InputError: upstream has another file under that name.
        """
        return self._download(pin.url, pin)

    def whole(self, want: Want, pin: Pin, mirror: str | None) -> Path:
        """Return the pinned file as it is in the cache, verified; bring it there first if it is not.

        Raises:
            InputError: it cannot be had, or is not what is pinned.
        """
        path = self.cache.archive(pin.name)
        if self.cache.has(pin.name, pin.sha256, self.downloader.progress):
            return path
        whys: list[str] = []
        if mirror:
            whys.append(self.from_mirror(mirror, pin))
        if not path.exists():
            whys.append(self.from_upstream(pin))
        if not path.exists():
            raise self._not_had(want, "; ".join(whys))
        return path

    def pinned(self, want: Want, pin: Pin) -> Resolved:
        """Open the pinned archive, which is in the cache and was checked, and inspect what is in it.

        Raises:
            InputError: it lacks a program, or is for another machine.
        """
        files = _programs(self.cache.archive(pin.name), want, pin)
        used = UsedInput(
            name=want.name, version=want.version, arch=want.arch, source=pin.url, sha256=pin.sha256
        )
        try:
            return self._resolved(want, files, used=(used,), origin=pin.sha256)
        except UnreachableError as error:
            raise self._not_had(want, f"its programs need Debian's C library, and {error}") from error

    def from_debian(self, want: Want, why: str) -> Resolved:
        """Take the programs from Debian's archive, because of `why`.

        Raises:
            InputError: it cannot be reached, does not verify, or has no version that will do.
        """
        settings = self.lock.debian
        if not set(want.files) <= set(settings.programs.get(want.name, ())):
            raise self._not_had(want, why)
        places = {file: settings.programs[want.name][file] for file in want.files}
        try:
            return self._packaged(want, places, why)
        except UnreachableError as error:
            raise self._not_had(want, f"{why}; {error}") from error

    def _packaged(self, want: Want, places: Mapping[str, Packaged], why: str) -> Resolved:
        settings, suite = self.lock.debian, self._suite()
        names = sorted({place.package for place in places.values()})
        found = suite.find({*names, settings.runtime}, want.arch)
        packages = {name: found[name] for name in names if name in found}
        version = self._fitting_version(want, packages, names, why)
        files: dict[str, bytes] = {}
        for name, package in packages.items():
            paths = {place.member: file for file, place in places.items() if place.package == name}
            members = _unpack(suite, package, paths.__contains__)
            files |= {file: _member(members, path, name) for path, file in paths.items()}
        resolved = self._resolved(
            want,
            {file: files[file] for file in want.files},
            used=tuple(_used(package, want.arch) for package in packages.values()),
            origin=settings.origin,
            libc=found.get(settings.runtime),
        )
        fallback = f"{why}; {want.name} {version} from Debian {settings.suite} instead"
        return replace(resolved, fallback=fallback)

    def _fitting_version(
        self, want: Want, packages: Mapping[str, Package], names: Iterable[str], why: str
    ) -> str:
        """Return the packages' version, if it is of the series asked for and not older."""
        suite = f"Debian {self.lock.debian.suite}"
        for name in names:
            if name not in packages:
                raise self._not_had(want, f"{why}; {suite} has no {name}")
        version = next(iter(packages.values())).version
        asked, had = _numbers(want.version), _numbers(version)
        if had is None or asked is None or had[:2] != asked[:2] or had < asked:
            raise self._not_had(want, f"{why}; {suite} has {version}, which cannot stand for it")
        return version

    def _not_had(self, want: Want, why: str) -> InputError:
        pins = self.lock.choices(want)
        build = f"./invoke sources.build {want.name} --version {want.version} --arch {want.arch}"
        hints = [
            f"put {pins[0].name}{_from(pins[0])} into a directory and name it with --mirror DIRECTORY",
            *([f"build it with Go: {build}"] if pins[-1].built else []),
            "ask for another",
        ]
        return InputError(f"{want} could not be had: {why}", hint=", or ".join(hints))

    def _resolved(
        self,
        want: Want,
        files: Mapping[str, bytes],
        *,
        used: tuple[UsedInput, ...],
        origin: str,
        libc: Package | None = None,
    ) -> Resolved:
        programs = {file: elf.inspect(content, want.arch, name=file) for file, content in files.items()}
        needed = {name for program in programs.values() for name in program.needed}
        loaders = {program.interpreter for program in programs.values()} - {""}
        libraries: Mapping[str, bytes] = {}
        if loaders:
            package = libc or self._libc(want.arch)
            libraries = runtime.closure(
                _unpack(self._suite(), package, runtime.is_library), needed, loaders, arch=want.arch
            )
            used = (*used, _used(package, want.arch))
        return Resolved(
            origin=origin,
            used=used,
            fallback="",
            linking="glibc" if loaders else "static",
            files={name: self.cache.put(content) for name, content in files.items()},
            runtime={path: self.cache.put(content) for path, content in libraries.items()},
        )

    def _libc(self, arch: str) -> Package:
        name = self.lock.debian.runtime
        found = self._suite().find({name}, arch)
        if name not in found:
            raise UnreachableError(f"Debian {self.lock.debian.suite} has no {name} for {arch}")
        return found[name]

    def _suite(self) -> Archive:
        carrier = self.downloader
        if self.collect:  # what is pinned goes there by its name, from the cache
            carrier = Collector(carrier=carrier, directory=self.collect)
        return Archive(settings=self.lock.debian, cache=self.cache, downloader=carrier)

    def _download(self, url: str, pin: Pin) -> str:
        path = self.cache.archive(pin.name)
        with self.cache.locked(pin.name):
            try:
                if not path.exists():
                    self.downloader.save(url, path, sha256=pin.sha256)
            except UnreachableError as error:
                return str(error)
        return ""

    def _copy(self, source: Path, pin: Pin) -> None:
        check(source, pin.sha256, todo="the file on the mirror is not the pinned one: do not use it")
        path = self.cache.archive(pin.name)
        part = path.with_name(f"{path.name}.part")
        with self.cache.locked(pin.name):
            shutil.copyfile(source, part)
            check(part, pin.sha256, todo=f"{source} changed while it was copied; try again")
            part.replace(path)


def _from(pin: Pin) -> str:
    """Say where upstream has a file, if it goes by another name there."""
    own = unquote(pin.url.rpartition("/")[2])
    return "" if pin.built or pin.name == own else f" ({pin.url})"


def _places(pin: Pin) -> tuple[str, ...]:
    """Return where a mirror may have the file: flat, below its release, and by upstream's whole path."""
    path = urlsplit(pin.url).path.lstrip("/")
    return pin.name, "/".join(path.split("/")[-2:]), path


def _programs(path: Path, want: Want, pin: Pin) -> dict[str, bytes]:
    if not any(pin.members.values()):  # no archive: the program itself
        return {file: path.read_bytes() for file in want.files}
    with path.open("rb") as packed:
        found = archive.members(packed, name=pin.name, wanted=set(pin.members.values()).__contains__)
    return {file: _member(found, pin.members[file], pin.name) for file in want.files}


def _member(found: Mapping[str, bytes], path: str, name: str) -> bytes:
    if path not in found:
        raise InputError(f"{name} has no file {path}")
    return found[path]


def _unpack(suite: Archive, package: Package, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    name = package.url.rpartition("/")[2]
    data, content = archive.debian_data(suite.get(package), name=name)
    return archive.members(io.BytesIO(content), name=f"{name}: {data}", wanted=wanted, rooted=True)


def _used(package: Package, arch: str) -> UsedInput:
    return UsedInput(
        name=package.name, version=package.version, arch=arch, source=package.url, sha256=package.sha256
    )


def _numbers(version: str) -> tuple[int, ...] | None:
    """Return major, minor and patch of an upstream or Debian version; None for a pre-release (`~`)."""
    match = re.match(r"(?:\d+:)?(\d+)\.(\d+)\.(\d+)(?![\d.~])", version)
    return tuple(int(part) for part in match.groups()) if match else None
