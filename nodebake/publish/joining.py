"""A node's files, put together again from what was published, and checked against their digests."""

from __future__ import annotations

import hashlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from nodebake.errors import InputError, UsageError
from nodebake.formats.packing import zstd_reader
from nodebake.formats.writing import private, replace
from nodebake.publish import documents
from nodebake.publish.place import PIECE
from nodebake.publish.recipe import File, Part, Recipe
from nodebake.vault import unseal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nodebake.manifest import Artifact
    from nodebake.publish.place import Blob, Source

_SMALL = 64 << 20
_DAMAGED = "it was damaged or changed since it was published: publish again"


def damaged(place: Source, what: str, why: object) -> InputError:
    """Return the error for something that is not what it must be."""
    return InputError(f"{place.name}: {what}: {why}", hint=_DAMAGED)


def fetch(place: Source, blob: Blob) -> bytes:
    """Return a small blob.

    Raises:
        PlaceError: it could not be read.
        InputError: it is not what its descriptor says.
    """
    if blob.size > _SMALL:
        raise damaged(place, blob.digest, f"has {blob.size} bytes, more than such a thing may have")
    return b"".join(checked(place, blob))


def checked(place: Source, blob: Blob) -> Iterator[bytes]:
    """Yield what a blob holds; the last step says whether it was right.

    Raises:
        PlaceError: it could not be read.
        InputError: it is not what its descriptor says.
    """
    sha256, size = hashlib.sha256(), 0
    for chunk in place.read(blob):
        sha256.update(chunk)
        size += len(chunk)
        if size > blob.size:
            break
        yield chunk
    if size != blob.size or sha256.hexdigest() != blob.hex:
        raise damaged(place, blob.digest, f"what came has another digest, sha256:{sha256.hexdigest()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kitchen:
    """Where files are put together.

    Attributes:
        place: what is published.
        out: the directory that gets the files.
        scratch: a directory for what is needed meanwhile; shared pieces stay there for the next node.
        epoch: the files' modification time, seconds since 1970.
        identity: the file with age's private keys, if there is one.
    """

    place: Source
    out: Path
    scratch: Path
    epoch: int
    identity: Path | None

    def node(self, manifest: Blob, artifacts: Iterable[Artifact]) -> None:
        """Write a node's files.

        Args:
            manifest: the node's.
            artifacts: the files, as manifest.json has them.

        Raises:
            PlaceError: something could not be read.
            UsageError: the identity is missing, or the wrong one.
            InputError: something is not what it must be.
            BuildError: a file could not be written.
        """
        layers, recipe = self._read(manifest)
        expected = {item.path: (item.size, item.sha256) for item in artifacts}
        if {file.path: (file.size, file.sha256) for file in recipe.files} != expected:
            raise damaged(self.place, recipe.node, "its recipe is not for what manifest.json says")
        own = [layer for layer in layers.layers if layer.media_type.startswith(documents.OWN)]
        pieces = {layer.digest: layer for layer in layers.layers if layer not in own}
        if len(own) != 1:
            raise damaged(self.place, recipe.node, "it has no part of its own")
        used = {part.digest for file in recipe.files for part in file.parts if part.kind == "shared"}
        if used != pieces.keys():
            wrong = ", ".join(sorted(used ^ pieces.keys()))
            raise damaged(self.place, recipe.node, f"its layers are not those of its recipe: {wrong}")
        with tempfile.TemporaryFile(dir=self.scratch) as packed:
            self._own(own[0], recipe.node, packed)
            packed.seek(0)
            source = _Node(kitchen=self, own=zstd_reader(packed), pieces=pieces, node=recipe.node)
            for file in recipe.files:
                self.write(file.path, source.file(file))

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Write one file, whole or not at all.

        Raises:
            BuildError: it could not be written.
        """
        for parent in reversed(PurePosixPath(path).parents):
            private(self.out / parent)
        replace(self.out / path, chunks, epoch=self.epoch)

    def _read(self, manifest: Blob) -> tuple[documents.Layers, Recipe]:
        try:
            layers = documents.read_manifest(fetch(self.place, manifest))
            return layers, Recipe.from_json(fetch(self.place, layers.config))
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(self.place, manifest.digest, error) from error

    def _own(self, layer: Blob, node: str, to: IO[bytes]) -> None:
        """Write the node's own part, still compressed."""
        if layer.media_type == documents.OWN:
            to.writelines(checked(self.place, layer))
            return
        if self.identity is None:
            whom = layer.annotations.get(documents.RECIPIENTS, "somebody")
            raise UsageError(f"{node}'s own part is encrypted for {whom}", hint="add --identity FILE")
        with tempfile.TemporaryFile(dir=self.scratch) as sealed:
            sealed.writelines(checked(self.place, layer))
            sealed.seek(0)
            unseal(sealed, to, self.identity, what=f"{node}'s own part")

    def piece(self, layer: Blob, size: int) -> bytes:
        """Return a shared piece, unpacked; it has `size` bytes then."""
        kept = self.scratch / f"{layer.hex}-{size}"
        if not kept.exists():
            data = fetch(self.place, layer)
            if layer.media_type.endswith(documents.ZSTD):
                with zstd_reader(io.BytesIO(data)) as reader:
                    data = self.taken(reader, size, layer.digest)
            kept.write_bytes(data)
        return kept.read_bytes()

    def taken(self, source: IO[bytes], size: int, what: str) -> bytes:
        """Return the next `size` bytes of what is compressed."""
        from zstandard import ZstdError  # noqa: PLC0415 - slow to import

        try:
            data = source.read(size)
        except ZstdError as error:
            raise damaged(self.place, what, error) from error
        if len(data) != size:
            raise damaged(self.place, what, "is too short")
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    kitchen: Kitchen
    own: IO[bytes]
    pieces: dict[str, Blob]
    node: str

    def file(self, file: File) -> Iterator[bytes]:
        """Yield a file's bytes; the last step says whether they were right."""
        sha256 = hashlib.sha256()
        for chunk in self._chunks(file.parts):
            sha256.update(chunk)
            yield chunk
        if sha256.hexdigest() != file.sha256:
            raise damaged(
                self.kitchen.place, file.path, f"what came has another digest, {sha256.hexdigest()}"
            )

    def _chunks(self, parts: Iterable[Part]) -> Iterator[bytes]:
        for part in parts:
            if part.kind == "shared":
                yield self._piece(part)
                continue
            for at in range(0, part.size, PIECE):
                size = min(PIECE, part.size - at)
                if part.kind == "zeros":
                    yield bytes(size)
                else:
                    yield self.kitchen.taken(self.own, size, f"{self.node}'s own part")

    def _piece(self, part: Part) -> bytes:
        return self.kitchen.piece(self.pieces[part.digest], part.size)
