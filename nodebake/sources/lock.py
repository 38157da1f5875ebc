"""Read `sources.lock`: what may be baked in, pinned by hash, and where it comes from."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from nodebake.errors import InputError
from nodebake.sources.recipe import Recipe, recipes
from nodebake.sources.table import Table, fill, of_release

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.sources.model import Want

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One file of one version and architecture.

    Attributes:
        name: the file's name in the cache and on mirrors: upstream's, unless that does not say the version.
        url: where upstream has it; of what is built from source, the module and the file's name.
        sha256: hexadecimal digest.
        members: program name to path inside the archive; to nothing where the file is the program itself.
    """

    name: str
    url: str
    sha256: str
    members: Mapping[str, str]

    @property
    def built(self) -> bool:
        """Tell whether it is built from source, and nowhere to be downloaded."""
        return self.url.startswith("go:")


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
    """The whole file, checked.

    Attributes:
        path: the file.
        pins: upstream's files by input name, version and architecture.
        built: what is built from source, likewise.
        recipes: how, by input name and version.
        debian: the fallback archive.
        licences: SPDX expressions, by the names that inputs have in a manifest.
    """

    path: Path
    pins: Mapping[tuple[str, str, str], Pin]
    built: Mapping[tuple[str, str, str], Pin]
    recipes: Mapping[tuple[str, str], Recipe]
    debian: Debian
    licences: Mapping[str, str]

    def choices(self, want: Want) -> tuple[Pin, ...]:
        """Return what `want` is pinned to: upstream's file, what is built from source, or both.

        Raises:
            InputError: it is not in the lock file, or has no such program.
        """
        key = (want.name, want.version, want.arch)
        pins = tuple(known[key] for known in (self.pins, self.built) if key in known)
        if not pins:
            every = dict.fromkeys((*self.pins, *self.built))
            known = [v for name, v, arch in every if (name, arch) == (want.name, want.arch)]
            raise InputError(
                f"{want} is not pinned in {self.path.name}",
                hint=f"versions that are: {', '.join(known) or 'none'}",
            )
        for file in want.files:
            if any(file not in pin.members for pin in pins):
                raise InputError(f"{self.path.name}: {want.name}.files: has no {file}, which is needed")
        return pins

    def pin(self, want: Want) -> Pin:
        """Return the first choice for `want`; see `choices`."""
        return self.choices(want)[0]

    def newest_recipe(self, name: str) -> str:
        """Return the newest version of `name` that can be built; nothing if there is none."""
        versions = [version for of, version in self.recipes if of == name]
        return max(versions, key=lambda version: [int(part) for part in version.split(".")], default="")

    def recipe(self, name: str, version: str) -> Recipe:
        """Return how to build a release from source.

        Raises:
            InputError: the lock file does not say.
        """
        if (name, version) not in self.recipes:
            known = " and ".join(dict.fromkeys(" ".join(key) for key in self.recipes)) or "nothing"
            raise InputError(
                f"{self.path.name} does not say how to build {f'{name} {version}'.strip()}",
                hint=f"what can be built: {known}",
            )
        return self.recipes[name, version]


def read(path: Path) -> Lock:
    """Read and check a lock file.

    Raises:
        InputError: it cannot be read, is no TOML (with the line), or lacks a key (with the key).
    """
    try:
        document = Table(path.name, "", tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name}: {error}", hint=f"restore {path}") from error
    if document.value("schema", int) != SCHEMA:
        raise document.bad("schema", f"is not {SCHEMA}, the only one this version reads")
    pins: dict[tuple[str, str, str], Pin] = {}
    built: dict[tuple[str, str, str], Pin] = {}
    ways: dict[tuple[str, str], Recipe] = {}
    licences: dict[str, str] = {}
    for name in document.names():
        if name not in {"schema", "debian"}:
            table = document.table(name)
            pins |= _pins(name, table)
            ways |= recipes(name, table)
            built |= _built(name, table, ways)
            licences |= {name: table.value("licence", str)} if table.has("licence") else {}
    packaged = document.table("debian")
    licences |= packaged.texts("licences") if packaged.has("licences") else {}
    debian = _debian(packaged)
    return Lock(path=path, pins=pins, built=built, recipes=ways, debian=debian, licences=licences)


def _pins(name: str, table: Table) -> dict[tuple[str, str, str], Pin]:
    url, files = table.value("url", str), table.list("files")
    member = table.value("members", str) if table.has("members") else ""
    arches, releases = table.texts("arches"), table.table("releases")
    pins: dict[tuple[str, str, str], Pin] = {}
    for version in releases.names():
        release = releases.table(version)
        if not release.has("sha256"):
            continue
        _provenance(release)
        for arch in release.texts("sha256"):
            if arch not in arches:
                raise release.table("sha256").bad(arch, "is not among the arches")
            filled = of_release(version, arches[arch])
            there = fill(url, of_release(quote(version), arches[arch]))
            own = unquote(there.rpartition("/")[2])
            pins[name, version, arch] = Pin(
                name=own if version in own else f"{name}-{version}-{own}",
                url=there,
                sha256=release.table("sha256").sha256(arch),
                members={file: fill(member, {**filled, "{file}": file}) for file in files},
            )
    return pins


def _built(
    name: str, table: Table, recipes: Mapping[tuple[str, str], Recipe]
) -> dict[tuple[str, str, str], Pin]:
    pins: dict[tuple[str, str, str], Pin] = {}
    for (of, version), recipe in recipes.items():
        if of != name:
            continue
        sums = table.table("releases").table(version).table("built").table("sha256")
        first = next(iter(recipe.modules.values()))
        for arch in sums.names():
            archive = f"{name}-{version}-{arch}-go{recipe.go}.tar"
            pins[name, version, arch] = Pin(
                name=archive,
                url=f"go:{first}/{archive}",
                sha256=sums.sha256(arch),
                members={program: program for program in recipe.programs},
            )
    return pins


def _provenance(release: Table) -> None:
    if release.value("confidence", str) not in {"A", "B", "C"}:
        raise release.bad("confidence", "is not A, B or C")
    release.value("confirmed", bool)


def _debian(table: Table) -> Debian:
    settings = {"mirror", "suite", "component", "runtime", "keyrings", "arches", "licences"}
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


def _packaged(table: Table) -> dict[str, Packaged]:
    rows = {file: table.table(file) for file in table.names()}
    return {
        file: Packaged(package=row.value("package", str), member=row.value("member", str))
        for file, row in rows.items()
    }
