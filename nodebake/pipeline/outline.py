"""What a build's artefacts were baked from, in short: `plan.json`, for a later profile to be compared with.

It holds no secrets, and no origins: only what was decided. Nodes that were built at different times stand for
different plans.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nodebake.formats.writing import replace
from nodebake.manifest import OUTLINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from nodebake.plan import NodePlan, Plan
    from nodebake.tree import Tree

USERS = "the files in overlays"
_SCHEMA = 1
_NODES = "nodes["


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What one node is baked from.

    Attributes:
        role: `member` or `client`.
        interfaces: addresses with their prefixes; peers use the first.
        names: all its names.
        settings: every decided value of the whole cluster by its path; those of nodes are not among them.
    """

    role: str
    interfaces: tuple[str, ...]
    names: tuple[str, ...]
    settings: Mapping[str, Any]


def outlines(plan: Plan, users: Tree) -> dict[str, Outline]:
    """Return what each node of `plan` is baked from; `users` are the user's own files."""
    settings = {one.path: one.value for one in plan.settings if not one.path.startswith(_NODES)}
    settings |= {USERS: _digest(users)} if users else {}
    # As they come back from the file: tuples are lists there.
    settings = json.loads(json.dumps(settings))
    return {node.name: _outline(node, settings) for node in plan.nodes}


def digest(plan: Plan, users: Tree) -> str:
    """Return a digest of all that the nodes of `plan` are baked from but secrets and programs."""
    return hashlib.sha256(f"{plan.digest()} {_digest(users)}".encode()).hexdigest()


def write(out: Path, made: Mapping[str, Outline], *, others: Iterable[str], epoch: int) -> None:
    """Write `made` to the build's directory; `others` are nodes whose earlier artefacts have stayed.

    Raises:
        BuildError: it could not be written.
    """
    before = read(out)
    whole = {name: before[name] for name in others if name in before} | dict(made)
    plans: list[Mapping[str, Any]] = []
    for one in whole.values():
        if one.settings not in plans:
            plans.append(one.settings)
    document = {
        "schema": _SCHEMA,
        "nodes": {
            name: {
                "role": one.role,
                "interfaces": one.interfaces,
                "names": one.names,
                "plan": plans.index(one.settings),
            }
            for name, one in whole.items()
        },
        "plans": plans,
    }
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    replace(out / OUTLINE, (text.encode(),), epoch=epoch)


def read(out: Path) -> dict[str, Outline]:
    """Return what the nodes were baked from that lie in `out`; nothing if nobody knows."""
    try:
        document = json.loads((out / OUTLINE).read_text())
        if document["schema"] != _SCHEMA:
            return {}
        return {
            name: Outline(
                role=row["role"],
                interfaces=tuple(row["interfaces"]),
                names=tuple(row["names"]),
                settings=document["plans"][row["plan"]],
            )
            for name, row in document["nodes"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _outline(node: NodePlan, settings: Mapping[str, Any]) -> Outline:
    return Outline(role=node.role, interfaces=node.interfaces, names=node.dns, settings=settings)


def _digest(users: Tree) -> str:
    """Return a digest of the user's files, with their modes: they may have secrets in them."""
    digest = hashlib.sha256()
    for path, entry in users.items():
        digest.update(f"{path}\0{entry.mode:o}\0{len(entry.content)}\0".encode())
        digest.update(entry.content)
    return digest.hexdigest()
