"""How the lower rooms say what they are doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener for long work; `console/progress.py` has those that draw and print.

    A task is named by its text. Units are whatever the caller counts (bytes, nodes).
    """

    def start(self, task: str, total: int | None = None) -> None:
        """Begin `task`, of `total` units if that is known."""

    def advance(self, task: str, units: int = 1) -> None:
        """Say that `units` more of `task` are done."""

    def finish(self, task: str) -> None:
        """End `task`."""

    def note(self, text: str) -> None:
        """Tell the user something worth a line of its own."""


class Silent:
    """A listener that ignores everything."""

    def start(self, task: str, total: int | None = None) -> None:
        """Ignore it."""

    def advance(self, task: str, units: int = 1) -> None:
        """Ignore it."""

    def finish(self, task: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""
