"""Where a profile's values were written, for messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.profile.positions import Written


@dataclass(frozen=True, slots=True)
class Marks:
    """What the user wrote, by dotted path (`nodes[2].address`); the file itself has the empty path."""

    values: Mapping[str, Written]

    def __contains__(self, path: str) -> bool:
        return path in self.values

    def origin(self, path: str) -> str:
        """Return the `file:line` where the user wrote the value at `path`, or `default`."""
        return self.values[path].where if path in self.values else "default"

    def nearest(self, path: str) -> str:
        """Return `path` if something is written there, or that of the nearest value around it."""
        while path and path not in self.values:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return path

    def problem(self, path: str, what: str, todo: str = "") -> Problem:
        """Return a problem with the value at `path`, placed at it or at the nearest value around it."""
        near = self.nearest(path)
        written = self.values[near]
        return Problem(where=written.where, path=written.path + path[len(near) :], what=what, todo=todo)
