"""What a place has, before any of the nodes' files are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.errors import UsageError
from nodebake.manifest import MANIFEST, Manifest
from nodebake.publish import documents
from nodebake.publish.gathering import BESIDE
from nodebake.publish.joining import damaged, fetch
from nodebake.publish.recipe import inside

if TYPE_CHECKING:
    from nodebake.publish.place import Blob, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A publication.

    Attributes:
        manifest: the build's.
        text: of `manifest.json`, as it was built.
        index: the text of the index.
        build: the build's own manifest.
        nodes: the manifest of each node, by name.
        beside: what lies beside it, such as its provenance, by path.
    """

    manifest: Manifest
    text: bytes
    index: bytes
    build: Blob
    nodes: dict[str, Blob]
    beside: dict[str, Blob]


def look(place: Source) -> Published:
    """Return what is published at `place`.

    Raises:
        PlaceError: it could not be read.
        UsageError: nothing is published there.
        InputError: it is damaged, or not ours.
    """
    index = place.index()
    if index is None:
        raise UsageError(f"{place.name}: nothing is published there")
    try:
        found = documents.read_index(index)
        layers = documents.read_manifest(fetch(place, found.build)).layers
        files = {layer.annotations[documents.TITLE]: layer for layer in layers}
        text = fetch(place, files.pop(MANIFEST))
        manifest = Manifest.from_json(text.decode())
        _check(manifest, found.nodes, files)
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(place, "the index", f"is no publication of ours ({error})") from error
    return Published(
        manifest=manifest, text=text, index=index, build=found.build, nodes=found.nodes, beside=files
    )


def _check(manifest: Manifest, nodes: dict[str, Blob], files: dict[str, Blob]) -> None:
    if set(nodes) != set(manifest.nodes):
        raise ValueError("its nodes are not those of manifest.json")
    wrong = [path for path in files if path not in BESIDE]
    wrong += [item.path for item in manifest.artifacts if not inside(item.path)]
    if "/" in manifest.profile or not inside(manifest.profile):
        raise ValueError(f"{manifest.profile!r} is no profile's name")
    if wrong:
        raise ValueError(f"{wrong[0]!r} has no place in a build")
