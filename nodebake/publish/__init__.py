"""Builds on their way to others: published to a directory, a registry or a bucket, and pulled from there.

What is published is the same everywhere: an OCI index, a manifest for each node, and blobs. What many nodes
share is there once; a node's own part is a blob for itself, encrypted for whom it is for.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.errors import BuildError, SafetyError, UsageError
from nodebake.manifest import load
from nodebake.publish.gathering import gather
from nodebake.publish.looking import Published, look
from nodebake.publish.place import PlaceError
from nodebake.publish.place import blob as described
from nodebake.publish.places import FORMS, opened, source
from nodebake.publish.pulling import Pull, pull
from nodebake.publish.splitting import Piece
from nodebake.publish.verifying import verify
from nodebake.vault import check_recipients

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.progress import Progress
    from nodebake.publish.gathering import Publication
    from nodebake.publish.place import Blob, Content, Place

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
    "verify",
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


def publish(place: Place, wanted: Push, progress: Progress) -> Sent:
    """Publish a build; what an interrupted try left there is not sent again.

    Raises:
        UsageError: there is no build, or a recipient is none.
        SafetyError: keys would be open to anybody, a file is not what it was built as, or another
            publication is there.
        BuildError: the place failed; there is no new publication then.
    """
    check_recipients(wanted.recipients)
    nodes = len(load(wanted.out).nodes)
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
            place.put(blob, _unchanged(blob, publication.blobs[blob]))
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


def _unchanged(blob: Blob, content: Content | Piece) -> Content:
    """Return what is sent for `blob`; not every place checks it, and files may change after they were hashed.

    Raises:
        PlaceError: it is not what the descriptor says any more.
    """
    there = content.content() if isinstance(content, Piece) else content
    if described(blob.media_type, there).digest != blob.digest:
        raise PlaceError(f"{blob.digest} changed before it was sent", hint="see that nobody builds meanwhile")
    return there
