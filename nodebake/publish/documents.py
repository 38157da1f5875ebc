"""The documents of a publication, as OCI's image specification has them; see docs/publishing.md.

An index, in it a manifest per node and one of the build; a node's names its recipe, its own part and the
pieces it shares.
https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.publish.place import Blob, blob

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nodebake.manifest import Manifest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
BUILD = "application/vnd.nodebake.build.v1"
NODE = "application/vnd.nodebake.node.v1"
RECIPE = "application/vnd.nodebake.recipe.v1+json"
FILE = "application/vnd.nodebake.file.v1"
SHARED = "application/vnd.nodebake.shared.v1"
OWN = "application/vnd.nodebake.own.v1+zstd"
ZSTD, AGE = "+zstd", "+age"
# The name by which tools find a manifest in a directory: `skopeo inspect oci:DIR:NAME`.
NAME = "org.opencontainers.image.ref.name"
TITLE = "org.opencontainers.image.title"
_CREATED = "org.opencontainers.image.created"
RECIPIENTS = "nodebake.recipients"
NOTHING = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What is published: one manifest of the build, and one for each node by name."""

    build: Blob
    nodes: dict[str, Blob]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What a manifest names."""

    config: Blob
    layers: tuple[Blob, ...]


def nothing() -> Blob:
    """Return the descriptor of the configuration of what has none."""
    return blob(_EMPTY, NOTHING)


def manifest(artifact_type: str, config: Blob, layers: Iterable[Blob]) -> bytes:
    """Return the text of a manifest."""
    return _text(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
    )


def index(told: Manifest, build: Blob, nodes: Iterable[Blob]) -> bytes:
    """Return the text of the index of a build."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(told.epoch))
    return _text(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "artifactType": BUILD,
            "manifests": [one.to_json() for one in (build, *nodes)],
            "annotations": {TITLE: f"{told.profile} ({told.cluster})", _CREATED: created},
        }
    )


def read_index(text: bytes) -> Index:
    """Return what an index says.

    Raises:
        ValueError, KeyError, TypeError: it is none of ours.
    """
    blobs = [Blob.from_json(told) for told in json.loads(text)["manifests"]]
    (build,) = [one for one in blobs if one.artifact_type == BUILD]
    nodes = {one.annotations[NAME]: one for one in blobs if one.artifact_type == NODE}
    return Index(build=build, nodes=nodes)


def read_manifest(text: bytes) -> Layers:
    """Return what a manifest names.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    document = json.loads(text)
    return Layers(
        config=Blob.from_json(document["config"]),
        layers=tuple(Blob.from_json(told) for told in document["layers"]),
    )


def _text(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
