"""What lies in the cache, and what of it nobody will ask for any more."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodebake.sources.cache import SCRATCH, in_use
from nodebake.sources.lock import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nodebake.sources.lock import Lock

_KINDS: Mapping[str, str] = {
    "archives": "downloads, as they came",
    "objects": "programs and libraries out of them",
    "resolved": "which of these answer what",
    "bases": "operating systems on partitions",
    "lab": "systems that the lab boots",
    "stamps": "what makes a second build quick",
}
_PARTS = (".part", ".new")
# Beginnings of what an interrupted command leaves; nobody uses the cache while it is pruned.
_LEFT = (SCRATCH, "vendoring-")
_LEFT_INSIDE = (*_LEFT, ".", "tmp")
_LOCKS = {"lock", "locks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """One kind of things in the cache.

    Attributes:
        kind: its directory.
        what: the same for people.
        count: how many there are.
        size: their bytes on the disk.
        unused: those that no pin and no answer names.
    """

    kind: str
    what: str
    count: int
    size: int
    unused: tuple[Path, ...]


def shelves(root: Path, lock: Path) -> tuple[Shelved, ...]:
    """Return what the cache `root` has, and what of it is of no use with the pins of `lock`.

    Raises:
        InputError: the lock file cannot be read.
        OSError: the cache cannot be read.
    """
    pinned = read(lock)
    answers = dict(_answers(root, pinned))
    found = []
    for kind, what in _KINDS.items():
        paths = sorted(path for path in _in(root / kind) if path.name not in _LOCKS)
        unused = tuple(path for path in paths if not _used(kind, path, pinned, answers))
        size = sum(_size(path) for path in paths)
        found.append(Shelved(kind=kind, what=what, count=len(paths), size=size, unused=unused))
    left = tuple(sorted(path for path in _in(root) if path.name.startswith(_LEFT)))
    what, size = "what was interrupted", sum(_size(path) for path in left)
    return (*found, Shelved(kind="left over", what=what, count=len(left), size=size, unused=left))


def prune(root: Path, lock: Path) -> tuple[tuple[Shelved, ...], int]:
    """Remove what is of no use; return what there was, as `shelves` does, and how many bytes went.

    Raises:
        InputError: the lock file cannot be read.
        SafetyError: somebody uses the cache.
        OSError: something cannot be removed.
    """
    with in_use(root, alone=True):
        found = shelves(root, lock)
        unused = [path for one in found for path in one.unused]
        size = sum(_size(path) for path in unused)
        for path in unused:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    return found, size


def _in(directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        yield from directory.iterdir()


def _answers(root: Path, lock: Lock) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the stored answers that a build would take today."""
    origins = {pin.sha256 for pins in (lock.pins, lock.built) for pin in pins.values()} | {lock.debian.origin}
    folder = root / "resolved"
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            answer = json.loads(path.read_bytes())
            if answer["origin"] in origins:
                yield path.name, answer
        except (ValueError, KeyError, TypeError):
            continue


def _used(kind: str, path: Path, lock: Lock, answers: Mapping[str, Mapping[str, Any]]) -> bool:
    if path.name.endswith(_PARTS) or path.name.startswith(_LEFT_INSIDE):
        return False
    pins = [pin for pins in (lock.pins, lock.built) for pin in pins.values()]
    if kind == "archives":
        sources = {
            used["source"].rpartition("/")[2] for answer in answers.values() for used in answer["used"]
        }
        return path.name in sources | {pin.name for pin in pins}
    if kind == "objects":
        stored = (
            one
            for answer in answers.values()
            for part in ("files", "runtime")
            for one in answer[part].values()
        )
        return path.name in {one["sha256"] for one in stored}
    if kind == "resolved":
        return path.name in answers
    if kind == "bases" and path.name.startswith("alpine-"):
        return any(pin.sha256[:32] in path.name for pin in pins)
    return kind != "stamps" or _of_a_build(path)


def _of_a_build(stamp: Path) -> bool:
    try:
        return Path(json.loads(stamp.read_bytes())["out"]).is_dir()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _size(path: Path) -> int:
    """Return the bytes that a file or directory takes on the disk; holes take none."""
    paths = path.rglob("*") if path.is_dir() else (path,)
    return sum(one.stat().st_blocks * 512 for one in paths if one.is_file() and not one.is_symlink())
