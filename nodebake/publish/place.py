"""Where a publication lies: a directory, a registry or a bucket, all with the same three things.

Blobs by their digest, manifests by theirs, and one index, which is written last: before it there is nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nodebake.formats.card.ranges import digest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

Content = bytes | Path
"""What a blob holds: in memory, or a file."""
PIECE = 1 << 20


class PlaceError(Exception):
    """A place failed; the text says which and how, for the user.

    This never leaves the room: it becomes the error of what was tried there.
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(f"{what}\n  {hint}" if hint else what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A descriptor (OCI image specification): what something is, and what it must hash to.

    Attributes:
        media_type: what it is.
        digest: `sha256:` and 64 hexadecimal digits.
        size: bytes.
        artifact_type: of a manifest, what it is the manifest of; otherwise empty.
        annotations: what is told of it besides.
    """

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_manifest(self) -> bool:
        """Whether a registry keeps it among its manifests."""
        return bool(self.artifact_type)

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.digest.removeprefix("sha256:")

    def to_json(self) -> dict[str, object]:
        """Return the descriptor as it stands in a document."""
        told: dict[str, object] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        told |= {"artifactType": self.artifact_type} if self.artifact_type else {}
        return told | ({"annotations": dict(self.annotations)} if self.annotations else {})

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Blob:
        """Return the descriptor that a document has.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        digest = str(told["digest"])
        algorithm, _, digits = digest.partition(":")
        if algorithm != "sha256" or len(digits) != 64 or set(digits) - set("0123456789abcdef"):  # noqa: PLR2004 - SHA-256
            raise ValueError(f"{digest} is not a digest")
        return cls(
            media_type=str(told["mediaType"]),
            digest=digest,
            size=int(told["size"]),
            artifact_type=str(told.get("artifactType", "")),
            annotations=dict(told.get("annotations") or {}),
        )


class Source(Protocol):
    """Where a publication can be read; all methods raise `PlaceError`."""

    @property
    def name(self) -> str:
        """Return what the user calls it."""

    def index(self) -> bytes | None:
        """Return the index; None where nothing is published."""

    def read(self, blob: Blob) -> Iterator[bytes]:
        """Yield what a blob holds; whoever reads it has to check it."""


class Place(Source, Protocol):
    """Where one can be published, too; blobs from several threads at once."""

    def has(self, blob: Blob) -> bool:
        """Return whether the blob is there, whole."""

    def put(self, blob: Blob, content: Content) -> None:
        """Store a blob; it is there whole, or not at all."""

    def finish(self, index: bytes) -> None:
        """Publish: store the index, in one step, over the one that may be there."""

    def clean(self, blobs: Collection[Blob]) -> None:
        """Remove every blob but these, where a place is for one publication only."""


def blob(
    media_type: str,
    content: Content,
    *,
    artifact_type: str = "",
    annotations: Mapping[str, str] | None = None,
) -> Blob:
    """Return the descriptor of `content`."""
    if isinstance(content, bytes):
        sha256, size = hashlib.sha256(content).hexdigest(), len(content)
    else:
        sha256, size = digest(content), content.stat().st_size
    return Blob(
        media_type=media_type,
        digest=f"sha256:{sha256}",
        size=size,
        artifact_type=artifact_type,
        annotations=annotations or {},
    )


def chunks(content: Content) -> Iterator[bytes]:
    """Yield what a blob holds, piece by piece."""
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
