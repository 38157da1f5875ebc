"""What a changed profile means for running nodes, as text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nodebake.console.text import as_json, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nodebake.upkeep import Consequence


def differences_as_text(out: Path, rows: Sequence[Consequence]) -> str:
    """Return for every node what is to be done, and for which values."""
    head = f"compared with the last build, in {shown(out)}:"
    return "\n".join([head, *(line for row in rows for line in _lines(row))])


def differences_as_json(out: Path, rows: Sequence[Consequence]) -> str:
    """Return the same for a program."""
    return as_json({"build": str(out), "nodes": [row.to_json() for row in rows]})


def _lines(row: Consequence) -> Iterator[str]:
    yield f"{row.node}: {row.effect}"
    for one in row.changes:
        values = (
            f"{_short(one.before)} -> {_short(one.after)}" if one.before != one.after else "others changed"
        )
        yield f"  {one.path}: {values}; {one.effect}{': ' if one.todo else ''}{one.todo}"


def _short(value: object) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)
