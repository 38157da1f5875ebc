"""Two directories, byte by byte; the first difference is named, and explained if diffoscope is there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.command import PATH, run
from nodebake.manifest import MANIFEST, SUMS

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 1 << 20
_SHOWN = 16
_LINES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place where two builds differ.

    Attributes:
        path: the file, below both directories.
        at: the first byte that differs; None where the file is in one of them only.
        ours: some bytes from there on.
        theirs: the same of the other.
    """

    path: str
    at: int | None
    ours: bytes = b""
    theirs: bytes = b""

    def __str__(self) -> str:
        if self.at is None:
            return f"{self.path} is in one of the builds only"
        return f"{self.path} differs from byte {self.at} on: {self.ours.hex(' ')} and {self.theirs.hex(' ')}"


def compare(one: Path, other: Path) -> Difference | None:
    """Return the first difference of two directories, by the files' names; None if there is none.

    What only tells of the other files comes last: it differs when one of them does.
    """
    ours, theirs = _files(one), _files(other)
    for path in sorted(ours.keys() | theirs.keys(), key=lambda path: (_tells(path), path)):
        if path not in ours or path not in theirs:
            return Difference(path=path, at=None)
        found = _unlike(path, ours[path], theirs[path])
        if found:
            return found
    return None


def explain(one: Path, other: Path) -> str:
    """Return what diffoscope says of two files, its first lines; nothing where it is not installed."""
    diffoscope = shutil.which("diffoscope", path=PATH)
    if diffoscope is None or not (one.exists() and other.exists()):
        return ""
    said = run([diffoscope, "--text", "-", one, other], accept=(0, 1)).decode(errors="replace")
    return "\n".join(said.splitlines()[:_LINES])


def _tells(path: str) -> bool:
    return path in {MANIFEST, SUMS} or path.endswith(".cdx.json")


def _files(directory: Path) -> dict[str, Path]:
    paths = (path for path in directory.rglob("*") if path.is_file() or path.is_symlink())
    return {path.relative_to(directory).as_posix(): path for path in paths}


def _unlike(path: str, one: Path, other: Path) -> Difference | None:
    with one.open("rb") as ours, other.open("rb") as theirs:
        at = 0
        while True:
            first, second = ours.read(_BLOCK), theirs.read(_BLOCK)
            if first != second:
                unlike = (place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
                here = next(unlike, min(len(first), len(second)))
                end = here + _SHOWN
                return Difference(path=path, at=at + here, ours=first[here:end], theirs=second[here:end])
            if not first:
                return None
            at += len(first)
