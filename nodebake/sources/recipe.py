"""How a release is built from source: the part of `sources.lock` that Go reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.sources.table import fill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.sources.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A Go module of one version, with the sum of its zip file."""

    path: str
    version: str
    h1: str

    def __str__(self) -> str:
        return f"{self.path}@v{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a release is built from source.

    Attributes:
        go: version of the toolchain.
        modules: what is laid out under which directory of the source tree.
        programs: program name to the directory of its package.
        ldflags: further flags for the linker.
        cut: file in the source tree to the lines that are left out of it.
    """

    go: str
    modules: Mapping[str, Module]
    programs: Mapping[str, str]
    ldflags: str
    cut: Mapping[str, tuple[str, ...]]


def recipes(name: str, table: Table) -> dict[tuple[str, str], Recipe]:
    """Return the recipes of one input by its name and version.

    Raises:
        InputError: a key is missing or of the wrong kind.
    """
    if not table.has("go"):
        return {}
    how, releases = table.table("go"), table.table("releases")
    paths, found = how.texts("modules"), {}
    for version in releases.names():
        if not releases.table(version).has("built"):
            continue
        built = releases.table(version).table("built")
        sums = built.texts("modules")
        for place in sums:
            if place not in paths:
                raise built.table("modules").bad(place, f"is not among {name}.go.modules")
        found[name, version] = Recipe(
            go=built.value("go", str),
            modules={
                place: Module(path=paths[place], version=version, h1=sum_) for place, sum_ in sums.items()
            },
            programs=how.texts("programs"),
            cut=_cut(how.table("cut")) if how.has("cut") else {},
            ldflags=fill(how.value("ldflags", str) if how.has("ldflags") else "", {"{version}": version}),
        )
    return found


def _cut(table: Table) -> dict[str, tuple[str, ...]]:
    return {place: table.list(place) for place in table.names()}
