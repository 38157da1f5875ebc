"""The files in an archive, by their place on the node."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import tarfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, cast

import zstandard

from nodebake.errors import BuildError
from nodebake.formats.packing import zstd_reader

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = 1 << 20  # bytes of a file that is looked into; programs are larger
_PIECE = 1 << 20
_END = 2 * tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A regular file.

    Attributes:
        path: from the node's root, without a leading slash.
        mode: permission bits.
        size: bytes.
        sha256: hexadecimal digest.
        content: its bytes; empty for a large one.
    """

    path: str
    mode: int
    size: int
    sha256: str
    content: bytes = field(default=b"", repr=False)


def in_gzip(packed: IO[bytes], name: str) -> list[File]:
    """Return the files of a tar archive packed with gzip.

    Raises:
        BuildError: it is damaged.
    """
    with whole(name):
        return list(_members(cast("IO[bytes]", gzip.GzipFile(fileobj=packed))))


def in_zstd(packed: IO[bytes], name: str) -> list[File]:
    """Return the files of a tar archive packed with zstd.

    Raises:
        BuildError: it is damaged.
    """
    with whole(name):
        return list(_members(zstd_reader(packed)))


@contextmanager
def whole(name: str) -> Iterator[None]:
    """Turn what readers say of a damaged file into a `BuildError`."""
    try:
        yield
    except (tarfile.TarError, zstandard.ZstdError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        hint = "it was cut short or altered: compare it with SHA256SUMS, and copy or build it again"
        raise BuildError(f"{name} is damaged: {error}", hint=hint) from error


class _Tail:
    """A reader that remembers the last bytes: zstd's own says nothing when a file ends too early."""

    def __init__(self, plain: IO[bytes]) -> None:
        self._plain, self.last = plain, b""

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        block = self._plain.read(size)
        self.last = (self.last + block)[-_END:]
        return block


def _members(packed: IO[bytes]) -> Iterator[File]:
    plain = _Tail(packed)
    with tarfile.open(fileobj=cast("IO[bytes]", plain), mode="r|") as archive:
        for info in archive:
            content = archive.extractfile(info) if info.isreg() else None
            if content:
                path = info.name.removeprefix("./").lstrip("/")
                yield read(path, content, mode=info.mode, size=info.size)
    while plain.read(_PIECE):  # what follows the archive's end still has a checksum
        pass
    if plain.last != bytes(_END):
        raise EOFError("the archive has no end")


def read(path: str, content: IO[bytes], *, mode: int, size: int) -> File:
    """Return a file as it is read from `content`."""
    sha256, kept = hashlib.sha256(), io.BytesIO()
    while block := content.read(_PIECE):
        sha256.update(block)
        if size <= KEPT:
            kept.write(block)
    return File(path=path, mode=mode, size=size, sha256=sha256.hexdigest(), content=kept.getvalue())
