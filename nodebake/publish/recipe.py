"""How a node's files are put together again: of pieces that nodes share, of its own bytes, and of zeros."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

SCHEMA = 1
Kind = Literal["shared", "own", "zeros"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The next bytes of a file.

    Attributes:
        kind: a piece that many nodes share, the next bytes of the node's own part, or zeros.
        size: bytes.
        digest: of the layer that has the piece; empty for the others.
    """

    kind: Kind
    size: int
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One artefact, as the manifest has it, and what it is made of, from its first byte to its last."""

    path: str
    size: int
    sha256: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A node's files, in the order in which they take from its own part."""

    cluster: str
    node: str
    epoch: int
    files: tuple[File, ...]

    def to_json(self) -> bytes:
        """Return the recipe's text; the same recipe gives the same bytes."""
        document = {"schema": SCHEMA, **asdict(self)}
        for file in document["files"]:
            file["parts"] = [
                {key: value for key, value in part.items() if value != ""} for part in file["parts"]
            ]
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Recipe:
        """Return the recipe whose text is `text`.

        Raises:
            ValueError, KeyError, TypeError: it is no recipe of this `SCHEMA`, or would write elsewhere.
        """
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']} is not {SCHEMA}")
        return cls(
            cluster=str(document["cluster"]),
            node=str(document["node"]),
            epoch=int(document["epoch"]),
            files=tuple(_file(told) for told in document["files"]),
        )


def inside(path: str) -> bool:
    """Return whether a path from a document stays below the directory it is relative to."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and not {"..", "."} & set(path.split("/"))


def _file(told: dict[str, Any]) -> File:
    path, parts = str(told["path"]), tuple(Part(**part) for part in told["parts"])
    file = File(path=path, size=int(told["size"]), sha256=str(told["sha256"]), parts=parts)
    if not inside(path) or "\0" in path:
        raise ValueError(f"a file has no place in a build: {path!r}")
    if any(part.kind not in get_args(Kind) or type(part.size) is not int or part.size < 0 for part in parts):
        raise ValueError(f"{path}: has a part that is not known")
    if sum(part.size for part in parts) != file.size:
        raise ValueError(f"{path}: its parts are not as long as it is")
    return file
