"""What is to be published of a build, made ready before anything is sent."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from nodebake.formats.packing import zstd_chunks
from nodebake.formats.writing import part, private
from nodebake.manifest import MANIFEST, OUTLINE, SPOOL, SUMS, load
from nodebake.provenance import PROVENANCE
from nodebake.provenance.signing import REPORT
from nodebake.publish import documents
from nodebake.publish.place import Blob, Content, blob
from nodebake.publish.recipe import Recipe
from nodebake.publish.splitting import Piece, Pieces, split
from nodebake.vault import seal

if TYPE_CHECKING:
    from nodebake.manifest import Manifest
    from nodebake.progress import Progress

BESIDE = (SUMS, OUTLINE, PROVENANCE, REPORT)
"""What may lie beside a manifest and tells of the build; none of it is secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Everything that is sent, in this order, and the index that makes it one.

    Attributes:
        blobs: by descriptor; what manifests name comes before them.
        index: the text of the index.
    """

    blobs: dict[Blob, Content | Piece]
    index: bytes


def gather(out: Path, recipients: tuple[str, ...], progress: Progress) -> Publication:
    """Take the build in `out` apart.

    Args:
        out: the build's directory.
        recipients: whom the nodes' own parts are encrypted for; nobody for not at all.
        progress: told of every node.

    Raises:
        UsageError: there is no build.
        SafetyError: a file is not what the manifest says.
        OSError: as reading and writing do.
    """
    manifest, text = load(out), (out / MANIFEST).read_bytes()
    gatherer = _Gatherer(out=out, manifest=manifest, recipients=recipients, pieces=Pieces())
    manifests: dict[Blob, Content] = {}
    others: dict[Blob, Content] = {}
    task = f"preparing {manifest.profile}"
    progress.start(task, len(manifest.nodes))
    nodes = []
    for name in manifest.nodes:
        told, more = gatherer.node(name)
        nodes.append(_described(documents.NODE, told, name))
        manifests[nodes[-1]] = told
        others |= more
        progress.advance(task)
    progress.finish(task)
    gatherer.clean({content.name for content in others.values() if isinstance(content, Path)})
    told, more = _build(out, text)
    build = _described(documents.BUILD, told, "build")
    return Publication(
        blobs={**gatherer.pieces.found, **others, **more, **manifests, build: told},
        index=documents.index(manifest, build, nodes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gatherer:
    out: Path
    manifest: Manifest
    recipients: tuple[str, ...]
    pieces: Pieces

    def node(self, name: str) -> tuple[bytes, dict[Blob, Content]]:
        """Return a node's manifest, and what it names of its own."""
        with tempfile.TemporaryFile(dir=private(self.out / SPOOL)) as own:
            taken = [split(item, self.out, self.pieces, own) for item in self.manifest.nodes[name]]
            recipe = Recipe(
                cluster=self.manifest.cluster,
                node=name,
                epoch=self.manifest.epoch,
                files=tuple(file for file, _ in taken),
            ).to_json()
            path = self.out / SPOOL / self._key(recipe)
            if not path.exists():
                own.seek(0)
                self._write(path, own)
        layer = self._own(path)
        config = blob(documents.RECIPE, recipe)
        shared = dict.fromkeys(one for _, used in taken for one in used)
        return documents.manifest(documents.NODE, config, (layer, *shared)), {layer: path, config: recipe}

    def clean(self, keep: set[str]) -> None:
        """Drop the parts of nodes as they were in earlier builds."""
        for path in (self.out / SPOOL).glob("*"):
            if path.name not in keep:
                path.unlink()

    def _key(self, recipe: bytes) -> str:
        told = b"\0".join((recipe, *(recipient.encode() for recipient in self.recipients)))
        return hashlib.sha256(told).hexdigest()

    def _own(self, path: Path) -> Blob:
        if not self.recipients:
            return blob(documents.OWN, path)
        told = {documents.RECIPIENTS: " ".join(self.recipients)}
        return blob(documents.OWN + documents.AGE, path, annotations=told)

    def _write(self, path: Path, own: IO[bytes]) -> None:
        with part(path) as new, tempfile.TemporaryFile(dir=path.parent) as packed:
            for chunk in zstd_chunks(own):
                packed.write(chunk)
            packed.seek(0)
            new.touch(0o600)
            with new.open("wb") as to:
                if self.recipients:
                    seal(packed, to, self.recipients)
                else:
                    to.writelines(iter(lambda: packed.read(1 << 20), b""))
                to.flush()
                os.fsync(to.fileno())  # its name says what it holds, after a power cut too
            new.replace(path)


def _build(out: Path, text: bytes) -> tuple[bytes, dict[Blob, Content]]:
    """Return the build's own manifest, and what it names: manifest.json, and what lies beside it."""
    found = {MANIFEST: text, **{name: (out / name).read_bytes() for name in BESIDE if (out / name).exists()}}
    files = {
        blob(documents.FILE, content, annotations={documents.TITLE: name}): content
        for name, content in found.items()
    }
    told = documents.manifest(documents.BUILD, documents.nothing(), files)
    return told, {documents.nothing(): documents.NOTHING, **files}


def _described(artifact_type: str, text: bytes, name: str) -> Blob:
    return blob(documents.MANIFEST, text, artifact_type=artifact_type, annotations={documents.NAME: name})
