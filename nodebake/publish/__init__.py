"""Builds on their way to others: published to a directory, a registry or a bucket, and pulled from there.

What is published is the same everywhere: an OCI index, a manifest for each node, and blobs. What many nodes
share is there once; a node's own part is a blob for itself, encrypted for whom it is for.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.errors import BuildError, InputError, SafetyError, UsageError
from nodebake.formats.writing import private
from nodebake.pipeline.result import MANIFEST
from nodebake.publish.gathering import gather, read
from nodebake.publish.joining import Kitchen, checked
from nodebake.publish.looking import Published, look
from nodebake.publish.place import PlaceError
from nodebake.publish.places import FORMS, opened, source
from nodebake.publish.splitting import Piece
from nodebake.vault import check_identity, check_recipients

if TYPE_CHECKING:
    from nodebake.manifest import Manifest
    from nodebake.progress import Progress
    from nodebake.publish.gathering import Publication
    from nodebake.publish.place import Blob, Place, Source

__all__ = [
    "FORMS",
    "PlaceError",
    "Published",
    "Pull",
    "Push",
    "Sent",
    "look",
    "opened",
    "publish",
    "pull",
    "source",
]

# Small blobs cost a registry far away two or three answers each, and hardly any bytes.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What is published, and how.

    Attributes:
        out: the build's directory.
        recipients: age's public keys, of those who may read the nodes' own parts.
        plaintext: whether everybody may.
        force: whether another publication may be replaced.
    """

    out: Path
    recipients: tuple[str, ...] = ()
    plaintext: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of publishing.

    Attributes:
        nodes: how many nodes are published.
        size: bytes that were sent.
        whole: bytes of the publication.
        new: whether anything was published that was not there.
    """

    nodes: int
    size: int
    whole: int
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """What is pulled, and where to.

    Attributes:
        out: a directory; empty, new, or with other nodes of the same build; None for one that is named as
            the profile is.
        builds: the directory that such a one is in.
        node: the only node that is wanted; empty for all.
        identity: the file with age's private keys, if there is one.
    """

    out: Path | None
    builds: Path
    node: str = ""
    identity: Path | None = None


def publish(place: Place, wanted: Push, progress: Progress) -> Sent:
    """Publish a build; what an interrupted try left there is not sent again.

    Raises:
        UsageError: there is no build, or a recipient is none.
        SafetyError: keys would be open to anybody, a file is not what it was built as, or another
            publication is there.
        BuildError: the place failed; there is no new publication then.
    """
    check_recipients(wanted.recipients)
    nodes = len(read(wanted.out).nodes)
    if bool(wanted.recipients) == wanted.plaintext:
        raise _open_to_all(wanted)
    try:
        before = place.index()
        publication = gather(wanted.out, tuple(sorted(set(wanted.recipients))), progress)
        if before not in {None, publication.index} and not wanted.force:
            raise SafetyError(
                f"{place.name}: there is another publication",
                hint="choose another tag or place, or add --force",
            )
        # The same index does not prove that all is there still.
        size = _send(place, publication, progress, new=before != publication.index)
    except PlaceError as error:
        raise BuildError(f"{error}\n  nothing was published; publish again to go on") from error
    if before and before != publication.index:
        _clean(place, publication)
    whole = sum(blob.size for blob in publication.blobs)
    return Sent(nodes=nodes, size=size, whole=whole, new=before != publication.index)


def pull(place: Source, wanted: Pull, progress: Progress) -> tuple[Path, Manifest]:
    """Write what is published, its manifest last; return where it is, and the manifest.

    Raises:
        UsageError: nothing is published there, the node is not in it, or the identity is missing or wrong.
        SafetyError: the directory has another build.
        InputError: the place failed, or something there is not what it must be.
        BuildError: a file could not be written.
    """
    if wanted.identity:
        check_identity(wanted.identity)
    try:
        return _pull(place, wanted, progress)
    except PlaceError as error:
        raise InputError(str(error)) from error


def _open_to_all(wanted: Push) -> SafetyError | UsageError:
    if wanted.plaintext:
        return UsageError(
            "--recipient and --plaintext-secrets exclude each other", hint="leave out one of them"
        )
    return SafetyError(
        f"what is in {wanted.out} holds its nodes' private keys: whoever can pull it could be each of them",
        hint="encrypt them for those who flash, with --recipient age1..., or say --plaintext-secrets",
    )


def _clean(place: Place, publication: Publication) -> None:
    """Remove what only the publication before had: it may be what nobody should have been able to read."""
    try:
        place.clean(publication.blobs)
    except PlaceError as error:
        raise BuildError(f"published, but what was there before could not be removed: {error}") from error


def _send(place: Place, publication: Publication, progress: Progress, *, new: bool) -> int:
    """Send what is not there yet, and then the index, if it is `new`; return how many bytes that was."""
    task, size = f"publishing to {place.name}", 0
    progress.start(task, sum(blob.size for blob in publication.blobs))

    def send(blob: Blob) -> tuple[int, bool]:
        there = place.has(blob)
        if not there:
            content = publication.blobs[blob]
            place.put(blob, content.content() if isinstance(content, Piece) else content)
        return blob.size, there

    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        # A registry takes a manifest only after what it names.
        for manifests in (False, True):
            wanted = [blob for blob in publication.blobs if blob.is_manifest == manifests]
            for sent, there in pool.map(send, wanted):
                size += 0 if there else sent
                progress.advance(task, sent)
    finally:
        pool.shutdown(cancel_futures=True)
    if new:
        place.finish(publication.index)
        size += len(publication.index)
    progress.finish(task)
    return size


def _pull(place: Source, wanted: Pull, progress: Progress) -> tuple[Path, Manifest]:
    published = look(place)
    manifest = published.manifest
    names = [name for name in manifest.nodes if wanted.node in {"", name}]
    if not names:
        hint = f"its nodes are {', '.join(manifest.nodes)}"
        raise UsageError(f"{place.name} has no node {wanted.node}", hint=hint)
    out = wanted.out or wanted.builds / manifest.profile
    _refuse_another(out, published.text)
    task = f"pulling from {place.name}"
    progress.start(task, len(names))
    with tempfile.TemporaryDirectory(dir=private(out), prefix=".pulled-") as scratch:
        kitchen = Kitchen(
            place=place, out=out, scratch=Path(scratch), epoch=manifest.epoch, identity=wanted.identity
        )
        for name in names:
            kitchen.node(published.nodes[name], manifest.nodes[name])
            progress.advance(task)
    for path, blob in published.beside.items():
        kitchen.write(path, checked(place, blob))
    kitchen.write(MANIFEST, [published.text])
    progress.finish(task)
    return out, manifest


def _refuse_another(out: Path, text: bytes) -> None:
    """Leave a directory alone that has another build: its keys may be nowhere else."""
    path = out / MANIFEST
    if path.exists() and path.read_bytes() != text:
        raise SafetyError(f"{out} has another build", hint="name another directory with --out")
