"""Which files of the C library's package a dynamic program takes along to a target without glibc."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from nodebake.errors import InputError
from nodebake.sources.elf import LOADERS, inspect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def is_library(path: str) -> bool:
    """Say whether a path of the package lies where Debian's loader looks (`usr/lib/<triplet>/`)."""
    directory = posixpath.dirname(path).removeprefix("usr/")
    return directory in {"lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"}


def closure(
    libraries: Mapping[str, bytes], needed: Iterable[str], loaders: Iterable[str], *, arch: str
) -> dict[str, bytes]:
    """Return the loader and every library needed, each at the target path where it is looked for.

    Libraries keep Debian's path below `usr/lib/<triplet>`: Debian's loader searches it by itself, and
    no other file of a musl system lies there.

    Args:
        libraries: path in the package to bytes.
        needed: the programs' own needs.
        loaders: the loaders that the programs name.
        arch: `x86_64` or `aarch64`.

    Raises:
        InputError: a program asks for another loader or for a library that the package does not have.
    """
    loader = LOADERS[arch]
    for named in loaders:
        if named.lstrip("/") != loader:
            raise InputError(f"a program asks for the loader {named}; only /{loader} can be brought along")
    by_name = {posixpath.basename(path): path for path in libraries}
    found: dict[str, bytes] = {}
    queue = [posixpath.basename(loader), *needed]
    while queue:
        name = queue.pop()
        if name not in by_name:
            raise InputError(f"a program asks for {name}, which Debian's C library does not have")
        path = loader if name == posixpath.basename(loader) else f"usr/{by_name[name].removeprefix('usr/')}"
        if path not in found:
            found[path] = libraries[by_name[name]]
            queue += inspect(found[path], arch, name=name).needed
    return found
