"""Read `sources.lock`: what may be baked in, pinned by hash, and where it comes from."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from nodebake.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.sources.model import Want

SCHEMA = 1
SHA256_DIGITS = 64
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One upstream file of one version and architecture.

    Attributes:
        url: where upstream has it.
        sha256: hexadecimal digest.
        members: program name to path inside the archive.
    """

    url: str
    sha256: str
    members: Mapping[str, str]

    @property
    def name(self) -> str:
        """Return the file's own name."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """Where Debian keeps a program: the binary package, and the path inside it."""

    package: str
    member: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Debian:
    """The fallback archive.

    Attributes:
        mirror: URL without a slash at the end.
        suite: code name, so that an answer does not change with the next release.
        component: `main`.
        runtime: the package with the loader and the C library.
        keyrings: files that may hold the keys to trust; the first that exists counts.
        arches: our architecture to Debian's.
        programs: input name to program name to where it is.
    """

    mirror: str
    suite: str
    component: str
    runtime: str
    keyrings: tuple[str, ...]
    arches: Mapping[str, str]
    programs: Mapping[str, Mapping[str, Packaged]]

    @property
    def origin(self) -> str:
        """Return what an answer from this archive depends on."""
        return f"{self.mirror} {self.suite} {self.component}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The whole file, checked; `pins` is by input name, version and architecture."""

    path: Path
    pins: Mapping[tuple[str, str, str], Pin]
    debian: Debian

    def pin(self, want: Want) -> Pin:
        """Return what `want` is pinned to.

        Raises:
            InputError: it is not in the lock file, or has no such program.
        """
        pin = self.pins.get((want.name, want.version, want.arch))
        if pin is None:
            known = [v for name, v, arch in self.pins if (name, arch) == (want.name, want.arch)]
            raise InputError(
                f"{want} is not pinned in {self.path.name}",
                hint=f"versions that are: {', '.join(known) or 'none'}",
            )
        for file in want.files:
            if file not in pin.members:
                raise InputError(f"{self.path.name}: {want.name}.files: has no {file}, which is needed")
        return pin


def read(path: Path) -> Lock:
    """Read and check a lock file.

    Raises:
        InputError: it cannot be read, is no TOML (with the line), or lacks a key (with the key).
    """
    try:
        document = _Table(path.name, "", tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name}: {error}", hint=f"restore {path}") from error
    if document.value("schema", int) != SCHEMA:
        raise document.bad("schema", f"is not {SCHEMA}, the only one this version reads")
    pins: dict[tuple[str, str, str], Pin] = {}
    for name in document.names():
        if name not in {"schema", "debian"}:
            pins |= _pins(name, document.table(name))
    return Lock(path=path, pins=pins, debian=_debian(document.table("debian")))


class _Table:
    """A TOML table that knows its place, for messages."""

    def __init__(self, file: str, place: str, content: Mapping[str, object]) -> None:
        self._file, self._place, self._content = file, place, content

    def names(self) -> tuple[str, ...]:
        return tuple(self._content)

    def bad(self, key: str, what: str) -> InputError:
        return InputError(f"{self._file}: {self._at(key)}: {what}")

    def value(self, key: str, kind: type[T]) -> T:
        found = self._content.get(key)
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            raise self.bad(key, "is missing" if found is None else f"is not {_KINDS[kind]}")
        return found

    def table(self, key: str) -> _Table:
        return _Table(self._file, self._at(key), self.value(key, dict))

    def texts(self, key: str) -> dict[str, str]:
        table = self.table(key)
        return {name: table.value(name, str) for name in table.names()}

    def list(self, key: str) -> tuple[str, ...]:
        found = self.value(key, list)
        if not all(isinstance(item, str) for item in found):
            raise self.bad(key, "is not a list of texts")
        return tuple(found)

    def sha256(self, key: str) -> str:
        text = self.value(key, str)
        if len(text) != SHA256_DIGITS or set(text) - set("0123456789abcdef"):
            raise self.bad(key, "is not a sha256 of 64 hexadecimal digits")
        return text

    def _at(self, key: str) -> str:
        shown = f'"{key}"' if "." in key else key
        return f"{self._place}.{shown}" if self._place else shown


_KINDS: Mapping[type, str] = {
    str: "a text",
    int: "a number",
    dict: "a table",
    list: "a list",
    bool: "true or false",
}


def _pins(name: str, table: _Table) -> dict[tuple[str, str, str], Pin]:
    url, member, files = table.value("url", str), table.value("members", str), table.list("files")
    arches, releases = table.texts("arches"), table.table("releases")
    pins: dict[tuple[str, str, str], Pin] = {}
    for version in releases.names():
        release = releases.table(version)
        _provenance(release)
        for arch in release.texts("sha256"):
            if arch not in arches:
                raise release.table("sha256").bad(arch, "is not among the arches")
            series = ".".join(version.split(".")[:2])
            filled = {"{version}": version, "{series}": series, "{arch}": arches[arch]}
            members = {file: _fill(member, {**filled, "{file}": file}) for file in files}
            sha256 = release.table("sha256").sha256(arch)
            pins[name, version, arch] = Pin(url=_fill(url, filled), sha256=sha256, members=members)
    return pins


def _provenance(release: _Table) -> None:
    if release.value("confidence", str) not in {"A", "B", "C"}:
        raise release.bad("confidence", "is not A, B or C")
    release.value("confirmed", bool)


def _debian(table: _Table) -> Debian:
    settings = {"mirror", "suite", "component", "runtime", "keyrings", "arches"}
    programs = {name: _packaged(table.table(name)) for name in table.names() if name not in settings}
    return Debian(
        mirror=table.value("mirror", str).rstrip("/"),
        suite=table.value("suite", str),
        component=table.value("component", str),
        runtime=table.value("runtime", str),
        keyrings=table.list("keyrings"),
        arches=table.texts("arches"),
        programs=programs,
    )


def _packaged(table: _Table) -> dict[str, Packaged]:
    rows = {file: table.table(file) for file in table.names()}
    return {
        file: Packaged(package=row.value("package", str), member=row.value("member", str))
        for file, row in rows.items()
    }


def _fill(template: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        template = template.replace(key, value)
    return template
