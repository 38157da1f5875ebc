"""Whether a publication is what its signer signed: from the index to the last byte of every file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake import provenance
from nodebake.errors import InputError, UsageError
from nodebake.provenance.envelope import PROVENANCE, opened
from nodebake.publish import documents
from nodebake.publish.joining import checked, damaged, fetch
from nodebake.publish.looking import look
from nodebake.publish.place import PlaceError
from nodebake.publish.pulling import Pull, pull

if TYPE_CHECKING:
    from nodebake.progress import Progress
    from nodebake.provenance import Verified
    from nodebake.publish.looking import Published
    from nodebake.publish.place import Source


def verify(
    place: Source, public: bytes, progress: Progress, *, node: str = "", identity: Path | None = None
) -> Verified:
    """Check signature and digests of what is published; it is pulled for that, and is gone again afterwards.

    Args:
        place: where it is.
        public: the signer's public key, PEM.
        progress: told what is being done.
        node: the only node that is looked at; empty for all.
        identity: the file with age's private keys, for what is encrypted.

    Raises:
        UsageError: nothing is published there, it was not signed, it has no such node, or the identity is
            missing or wrong.
        InputError: the place failed, the signature does not fit, or something was altered, is missing or was
            added, each by its name.
    """
    try:
        published = look(place)
        if PROVENANCE not in published.beside:
            hint = "who built it runs ./invoke sign --profile P, and publishes again"
            raise UsageError(f"{place.name} has no {PROVENANCE}: what is published was not signed", hint=hint)
        # Before much is read: whether it is this signer's at all.
        opened(fetch(place, published.beside[PROVENANCE]), public)
        _check_whole(place, published)
    except PlaceError as error:
        raise InputError(str(error)) from error
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "build"
        pull(place, Pull(out=out, builds=out.parent, node=node, identity=identity), progress)
        return provenance.verify(out, public, node=node)


def _check_whole(place: Source, published: Published) -> None:
    """See to what pulling has no need of: the index's own bytes, and the configuration that is none."""
    nodes = [published.nodes[name] for name in published.manifest.nodes]
    if published.index != documents.index(published.manifest, published.build, nodes):
        raise damaged(place, "the index", "is not what it is of such a build")
    b"".join(checked(place, documents.nothing()))
