"""The nouns of this room: what is wanted, and what was had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.manifest import UsedInput

Linking = Literal["static", "glibc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A program that is to be baked in.

    Attributes:
        name: a table of `sources.lock`, for instance `etcd`.
        version: the version asked for, without a leading `v`.
        arch: the target's, `x86_64` or `aarch64`.
        files: the programs of it that are needed, for instance `etcd` and `etcdctl`.
        libc: the target's C library; to one with `glibc` nobody brings another.
        whole: what is wanted is no program but the pinned file itself, under the only name in `files`.
    """

    name: str
    version: str
    arch: str
    files: tuple[str, ...]
    libc: Literal["musl", "glibc"] = "musl"
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.version} for {self.arch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Verified and inspected programs.

    Attributes:
        files: the programs asked for, by name.
        runtime: target path (relative) to bytes of the loader and the libraries that dynamic programs
            need where the target has no glibc; empty if all are static.
        used: what was verified, with its source. A pinned file's source is its upstream URL, whichever
            way the bytes came, for its hash says that they are the same.
        fallback: why this is not the first choice; empty if it is.
        linking: `glibc` if any of the files needs a loader.
    """

    files: Mapping[str, bytes]
    runtime: Mapping[str, bytes]
    used: tuple[UsedInput, ...]
    fallback: str
    linking: Linking
