"""A target's files in memory: ownership and modes live here, never on the build machine's disk."""

from __future__ import annotations

import stat
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from nodebake.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file, directory or symbolic link of a target.

    Attributes:
        mode: permission bits and file type, as in `st_mode` (`stat.S_IFREG | 0o644`).
        content: a file's bytes, or a link's target.
        uid: numeric owner.
        gid: numeric group.
        shared: the same bytes on many nodes, large, and worth compressing only once.
    """

    mode: int
    content: bytes = b""
    uid: int = 0
    gid: int = 0
    shared: bool = False


def file(content: bytes, mode: int = 0o644, *, shared: bool = False) -> Entry:
    """Return a regular file's entry, owned by root."""
    return Entry(mode=stat.S_IFREG | mode, content=content, shared=shared)


def directory(mode: int = 0o755) -> Entry:
    """Return a directory's entry, owned by root."""
    return Entry(mode=stat.S_IFDIR | mode)


def link(target: str) -> Entry:
    """Return a symbolic link's entry."""
    return Entry(mode=stat.S_IFLNK | 0o777, content=target.encode())


class Tree:
    """An immutable map from target path to `Entry`; paths are relative (`etc/hosts`), in sorted order.

    Missing parent directories are implied, root-owned, 0755.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        """Take `entries` by target path; a leading slash is dropped.

        Raises:
            BuildError: a path is empty, climbs out with `..`, or passes through a file.
        """
        normal = {_normal(path): entry for path, entry in entries.items()}
        for path in list(normal):
            for parent in _parents(path):
                if parent not in normal:
                    normal[parent] = directory()
                elif not stat.S_ISDIR(normal[parent].mode):
                    raise BuildError(f"{path} would lie inside {parent}, which is not a directory")
        self._entries = {path: normal[path] for path in sorted(normal)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def __getitem__(self, path: str) -> Entry:
        return self._entries[path]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self._entries == other._entries

    __hash__ = None  # type: ignore[assignment]  # as large as its files: not for keys

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Yield every path and entry, parents before what lies in them."""
        return iter(self._entries.items())

    def split(self) -> tuple[Tree, Tree]:
        """Return the shared files with the directories above them, and all the rest.

        No entry is in both: archives of the two, one after the other, are an archive of the tree.
        """
        shared = {path for path, entry in self.items() if entry.shared}
        shared |= {parent for path in shared for parent in _parents(path)}
        return self._part(lambda path: path in shared), self._part(lambda path: path not in shared)

    def _part(self, wanted: Callable[[str], bool]) -> Tree:
        part = Tree({})
        part._entries = {path: entry for path, entry in self.items() if wanted(path)}
        return part


def merge(*trees: Tree) -> Tree:
    """Return one tree of all of them; where two have the same path, the later one wins."""
    entries: dict[str, Entry] = {}
    for tree in trees:
        entries |= dict(tree.items())
    return Tree(entries)


def write_tar(tree: Tree, to: IO[bytes], *, epoch: int, end: bool = True) -> None:
    """Write `tree` as a ustar archive: the same tree and epoch give the same bytes.

    Names have no `./` and no user or group names, so that nothing resolves them differently on the
    target (busybox tar prefers names to numbers).

    Args:
        tree: what to write.
        to: a binary stream.
        epoch: modification time of every entry, seconds since 1970.
        end: write the end-of-archive blocks; without them a further archive may follow.
    """
    for path, entry in tree.items():
        to.write(record(path, entry, epoch))
    if end:
        to.write(bytes(2 * tarfile.BLOCKSIZE))


def record(path: str, entry: Entry, epoch: int) -> bytes:
    """Return one entry as it stands in a tar archive: header, content, zeros up to the next block.

    The header is POSIX ustar, with GNU long names where it must.
    """
    content = entry.content if stat.S_ISREG(entry.mode) else b""
    target = entry.content if stat.S_ISLNK(entry.mode) else b""
    header = _header(path, entry.mode, (entry.uid, entry.gid), len(content), target, epoch)
    return b"".join((header, content, bytes(-len(content) % tarfile.BLOCKSIZE)))


# The three below are asked the same for every node of a cluster.
@lru_cache(maxsize=8192)
def _header(path: str, mode: int, owner: tuple[int, int], size: int, target: bytes, epoch: int) -> bytes:
    info = tarfile.TarInfo(path)
    info.mode, (info.uid, info.gid), info.mtime, info.size = stat.S_IMODE(mode), owner, epoch, size
    if stat.S_ISDIR(mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(mode):
        info.type, info.linkname = tarfile.SYMTYPE, target.decode()
    return info.tobuf(tarfile.GNU_FORMAT)


@lru_cache(maxsize=8192)
def _normal(path: str) -> str:
    pure = PurePosixPath(path.lstrip("/"))
    if not pure.parts or ".." in pure.parts:
        raise BuildError(f"not a path inside a target: {path!r}")
    return str(pure)


@lru_cache(maxsize=8192)
def _parents(path: str) -> tuple[str, ...]:
    return tuple(str(parent) for parent in list(PurePosixPath(path).parents)[:-1])
