"""What a build wrote: artefacts, inputs, digests. `manifest.json`, and the names of what lies beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from nodebake.errors import BuildError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1
MANIFEST, SUMS, OUTLINE = "manifest.json", "SHA256SUMS", "plan.json"
SPOOL = ".published"
"""In a build's directory: nodes' own parts as they were published, so that what was interrupted goes on with
the same bytes although age never encrypts anything the same way twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file of a build.

    Attributes:
        kind: `apkovl`, `boot`, `user-data`, `meta-data`, `network-config`, `payload`, `seed`, `rootfs`,
            `image`, `qcow2`, `image-zst`, `bmap`, `renewal`, `sbom`, `image-sbom`, or `operator`.
        path: relative to the manifest, with forward slashes.
        size: bytes.
        sha256: hexadecimal digest of the whole file.
        shared: where it holds nothing of the node's own and nothing secret, as byte ranges (first, after the
            last) in order; nodes that have such a piece have the same, so it needs to be stored but once.
    """

    kind: str
    path: str
    size: int
    sha256: str
    shared: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedInput:
    """Where something that was baked in came from.

    Attributes:
        name: for instance `etcd`.
        version: the version that was used, as its source calls it.
        arch: `x86_64` or `aarch64`.
        source: URL or file the bytes came from.
        sha256: hexadecimal digest of the archive that was verified.
    """

    name: str
    version: str
    arch: str
    source: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The index of a build; every path is relative to the directory it lies in.

    Attributes:
        profile: the profile's name.
        cluster: the cluster's.
        epoch: the time that all files have, seconds since 1970.
        inputs: what was baked in.
        nodes: artefacts by node.
        operator: the operator's files.
    """

    profile: str
    cluster: str
    epoch: int
    inputs: tuple[UsedInput, ...]
    nodes: dict[str, tuple[Artifact, ...]]
    operator: tuple[Artifact, ...]

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Return the manifest whose text is `text`.

        Raises:
            ValueError, KeyError, TypeError: it is not the text of a manifest of this `SCHEMA`.
        """
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']} is not {SCHEMA}")
        return cls(
            profile=document["profile"],
            cluster=document["cluster"],
            epoch=document["epoch"],
            inputs=tuple(UsedInput(**used) for used in document["inputs"]),
            nodes={
                name: tuple(map(_artifact, node["artifacts"])) for name, node in document["nodes"].items()
            },
            operator=tuple(map(_artifact, document["operator"])),
        )

    def to_json(self) -> str:
        """Return the text of `manifest.json`: sorted keys, two spaces, one newline at the end."""
        document = {
            "schema": SCHEMA,
            "profile": self.profile,
            "cluster": self.cluster,
            "epoch": self.epoch,
            "inputs": [asdict(used) for used in self.inputs],
            "nodes": {
                name: {"artifacts": [asdict(item) for item in items]} for name, items in self.nodes.items()
            },
            "operator": [asdict(item) for item in self.operator],
        }
        return json.dumps(document, indent=2, sort_keys=True) + "\n"

    def sums(self) -> str:
        """Return the text of `SHA256SUMS`, as `sha256sum --check` reads it."""
        return "".join(f"{item.sha256}  {item.path}\n" for item in self.artifacts)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Every artefact, by path."""
        items = (*self.operator, *chain.from_iterable(self.nodes.values()))
        return tuple(sorted(items, key=lambda item: item.path))


def load(out: Path, profile: str = "P") -> Manifest:
    """Return the manifest of the build that lies in the directory `out`; the hint names the profile.

    Raises:
        UsageError: no build lies there.
        BuildError: its manifest cannot be read.
    """
    path = out / MANIFEST
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"{out} has no build", hint=f"build first: ./invoke build --profile {profile}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BuildError(f"{path} is not a manifest: {error}", hint="build again") from error


def _artifact(told: dict[str, Any]) -> Artifact:
    return Artifact(**{**told, "shared": tuple((start, end) for start, end in told.get("shared", ()))})
