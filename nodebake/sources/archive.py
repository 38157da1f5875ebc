"""Take named members out of an archive in memory, and trust nothing in it."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import posixpath
import shutil
import tarfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import zstandard

from nodebake.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# A release of etcd unpacks to 60 MB; ten times that is no release but a bomb.
UNPACKED_LIMIT = 600 << 20
ENTRIES_LIMIT = 5000
_PIECE = 1 << 20
AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60


def members(
    packed: IO[bytes],
    *,
    name: str,
    wanted: Callable[[str], bool],
    rooted: bool = False,
    limit: int = UNPACKED_LIMIT,
) -> dict[str, bytes]:
    """Return the regular files of a compressed tar archive whose path is `wanted`.

    The whole archive is read, so that one that climbs out is refused wherever it does so.

    Args:
        packed: the archive; `name` says how it is compressed (`.gz`, `.xz`, `.zst`).
        name: what to call it in messages.
        wanted: is asked for each path, without a leading `./`.
        rooted: absolute symbolic links are meant from the target's root, as in a Debian package.
        limit: bytes that it may unpack to.

    Raises:
        InputError: it is damaged, unpacks to too much, or has a path or link that climbs out.
    """
    with _readable(name):
        entries = _entries(packed, name, rooted=rooted, limit=limit)
        return {path: content.read() for path, _, content in entries if content and wanted(path)}


def unpack(packed: IO[bytes], to: Path, *, name: str, limit: int = UNPACKED_LIMIT) -> None:
    """Unpack a compressed tar archive of plain files and directories into the empty directory `to`.

    Times are kept, owners and modes are not.

    Args:
        packed: the archive; `name` says how it is compressed, as for `members`.
        to: where it goes.
        name: what to call it in messages.
        limit: bytes that it may unpack to.

    Raises:
        InputError: as for `members`; or it has a link or a device, or one name in two spellings.
        OSError: as writing does.
    """
    seen: dict[str, str] = {}
    with _readable(name):
        for path, info, content in _entries(packed, name, rooted=False, limit=limit):
            if not (info.isreg() or info.isdir()):
                raise InputError(f"{name}: has what is neither file nor directory: {path}")
            if seen.setdefault(path.lower(), path) != path:
                raise InputError(
                    f"{name}: has {seen[path.lower()]} and {path}, one name where case is nothing"
                )
            folder = to / path if content is None else (to / path).parent
            folder.mkdir(parents=True, exist_ok=True)
            if content is not None:
                with (to / path).open("wb") as file:
                    shutil.copyfileobj(content, file, _PIECE)
                os.utime(to / path, (info.mtime, info.mtime))


def debian_data(content: bytes, *, name: str) -> tuple[str, bytes]:
    """Return name and bytes of the data archive in a Debian package (deb(5)).

    Raises:
        InputError: it is no Debian package.
    """
    at = len(AR_MAGIC)
    while content.startswith(AR_MAGIC) and at + AR_HEADER <= len(content):
        header = content[at : at + AR_HEADER]
        member, size = header[:16].decode("latin-1").rstrip(" /"), header[48:58]
        if not size.strip().isdigit():
            break
        end = at + AR_HEADER + int(size)
        if member.startswith("data.tar") and end <= len(content):
            return member, content[at + AR_HEADER : end]
        at = end + end % 2
    raise InputError(f"{name}: is not a Debian package, or is cut off")


def _entries(
    packed: IO[bytes], name: str, *, rooted: bool, limit: int
) -> Iterator[tuple[str, tarfile.TarInfo, IO[bytes] | None]]:
    """Yield each entry's path, and its content while it is the current one."""
    stream = _Bounded(_open(packed, name), name, limit)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for count, info in enumerate(tar):
            if count > ENTRIES_LIMIT:
                raise InputError(f"{name}: has more than {ENTRIES_LIMIT} entries")
            yield _inside(info, name, rooted=rooted), info, tar.extractfile(info) if info.isreg() else None


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn what readers say of a damaged archive into an `InputError`; the system's own errors pass."""
    try:
        yield
    except (tarfile.TarError, lzma.LZMAError, zlib.error, zstandard.ZstdError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(f"{name}: cannot be unpacked: {error}") from error


def _open(packed: IO[bytes], name: str) -> IO[bytes]:
    if name.endswith((".gz", ".tgz")):
        return gzip.GzipFile(fileobj=packed)  # type: ignore[return-value]  # read() is all that is used
    if name.endswith(".xz"):
        return lzma.LZMAFile(packed)
    if name.endswith(".zst"):
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(packed))
    if name.endswith(".tar"):
        return packed
    raise InputError(f"{name}: is compressed in a way that is not known here")


def _inside(info: tarfile.TarInfo, archive: str, *, rooted: bool) -> str:
    path = posixpath.normpath(info.name)
    if _climbs(info.name):
        raise InputError(f"{archive}: has a path that climbs out: {info.name}")
    if info.issym():
        target = info.linkname
        if target.startswith("/") and rooted:
            target = target.lstrip("/")
        elif not target.startswith("/"):
            target = posixpath.join(posixpath.dirname(path), target)
        if posixpath.normpath(target).startswith(("/", "..")):
            raise InputError(f"{archive}: has a link that climbs out: {info.name} -> {info.linkname}")
    elif info.islnk() and _climbs(info.linkname):
        raise InputError(f"{archive}: has a link that climbs out: {info.name} -> {info.linkname}")
    return path


def _climbs(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/")


class _Bounded(io.RawIOBase):
    """A stream that ends in an error when it gives more than an archive of ours can hold."""

    def __init__(self, stream: IO[bytes], name: str, limit: int) -> None:
        super().__init__()
        self._stream, self._name, self._left = stream, name, limit

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise InputError(f"{self._name}: unpacks to more bytes than it may")
        return block
