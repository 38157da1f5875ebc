"""Artefacts taken apart: into pieces that many nodes share, the node's own bytes, and zeros."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from nodebake.errors import SafetyError
from nodebake.formats.packing import compress
from nodebake.publish.documents import SHARED, ZSTD
from nodebake.publish.place import Blob, blob
from nodebake.publish.recipe import File, Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nodebake.manifest import Artifact

GRAIN = 4 << 20
"""Bytes that a shared piece has at most, so that all of it can be in memory."""
_LEAST = 4096  # what is smaller is not worth a layer of its own
_ZEROS = bytes(GRAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes of a file that many nodes share.

    Attributes:
        path: a file that has them.
        start: where they begin.
        size: how many they are.
        packed: whether they are stored compressed.
    """

    path: Path
    start: int
    size: int
    packed: bool

    def content(self) -> bytes:
        """Return what is stored.

        Raises:
            OSError: as reading does.
        """
        with self.path.open("rb") as file:
            file.seek(self.start)
            return _stored(file.read(self.size), packed=self.packed)


class Pieces:
    """Every piece that any node of a build has, once."""

    def __init__(self) -> None:
        self.found: dict[Blob, Piece] = {}
        self._known: dict[bytes, Blob] = {}

    def add(self, path: Path, start: int, data: bytes) -> Blob:
        """Return what stands for `data`, which begin at `start` of the file `path`."""
        key = hashlib.sha256(data).digest()
        if key not in self._known:
            small = _stored(data, packed=True)
            packed = len(small) < len(data) * 0.9  # not worth unpacking again otherwise
            made = blob(SHARED + ZSTD, small) if packed else blob(SHARED, data)
            self._known[key] = made
            self.found[made] = Piece(path=path, start=start, size=len(data), packed=packed)
        return self._known[key]


def split(artifact: Artifact, root: Path, pieces: Pieces, own: IO[bytes]) -> tuple[File, tuple[Blob, ...]]:
    """Take one artefact apart.

    Args:
        artifact: what the manifest says of it.
        root: the build's directory.
        pieces: gets what is shared.
        own: gets the node's own bytes.

    Returns:
        How it is put together again, and the shared pieces in it.

    Raises:
        SafetyError: it is not what the manifest says.
        OSError: as reading and writing do.
    """
    path, sha256 = root / artifact.path, hashlib.sha256()
    parts: list[Part] = []
    used: dict[Blob, None] = {}
    try:
        with path.open("rb") as file:
            for start, end, shared in _cuts(artifact):
                data = file.read(end - start)
                sha256.update(data)
                if data == _ZEROS[: len(data)]:
                    parts.append(Part(kind="zeros", size=len(data)))
                elif shared:
                    layer = pieces.add(path, start, data)
                    used[layer] = None
                    parts.append(Part(kind="shared", size=len(data), digest=layer.digest))
                else:
                    own.write(data)
                    parts.append(Part(kind="own", size=len(data)))
            whole = not file.read(1)
    except FileNotFoundError as error:
        raise SafetyError(f"{path} is not there any more", hint="build it again") from error
    if not whole or sha256.hexdigest() != artifact.sha256:
        raise SafetyError(f"{path} is not what the manifest says it is", hint="build it again")
    made = File(path=artifact.path, size=artifact.size, sha256=artifact.sha256, parts=tuple(_joined(parts)))
    return made, tuple(used)


def _cuts(artifact: Artifact) -> Iterator[tuple[int, int, bool]]:
    """Yield where each slice begins and ends, and whether it is shared; all of the file, in order."""
    at = 0
    for start, end in artifact.shared:
        if end - start >= _LEAST and start >= at:
            yield from _slices(at, start, shared=False)
            yield from _slices(start, end, shared=True)
            at = end
    yield from _slices(at, artifact.size, shared=False)


def _slices(start: int, end: int, *, shared: bool) -> Iterator[tuple[int, int, bool]]:
    for at in range(start, end, GRAIN):
        yield at, min(at + GRAIN, end), shared


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the same with own bytes and zeros that follow each other as one."""
    last: Part | None = None
    for part in parts:
        if last and last.kind == part.kind != "shared":
            last = Part(kind=part.kind, size=last.size + part.size)
            continue
        if last:
            yield last
        last = part
    if last:
        yield last


def _stored(data: bytes, *, packed: bool) -> bytes:
    return compress(data, "zstd") if packed else data
