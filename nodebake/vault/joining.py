"""Which nodes join a cluster that is there and may not found one: those replaced or added later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodebake.vault.files import broken, check_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.vault.files import Files

JOINING = "joining.json"
_SCHEMA = 1


def read_joining(files: Files) -> dict[str, int]:
    """Return the nodes, and since when each, seconds since 1970.

    Raises:
        UsageError: the file is damaged.
    """
    if not files.has(JOINING):
        return {}
    document: Any = files.read_json(JOINING)
    try:
        check_schema(document, _SCHEMA)
        return {str(name): int(moment) for name, moment in document["nodes"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise broken(files.directory / JOINING, f"not what this tool writes ({error})") from error


def write_joining(files: Files, nodes: Mapping[str, int]) -> None:
    """Remember them; on the disk when this returns."""
    files.write_json(JOINING, {"schema": _SCHEMA, "nodes": dict(nodes)})
