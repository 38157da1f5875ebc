"""How fast a task goes, and how long it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import ProgressColumn
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Task

_BYTES = 1 << 20  # nobody has so many nodes: a task of so many units counts bytes


class Rate(ProgressColumn):
    """Megabytes per second and seconds left, of a task that counts bytes; nothing for others."""

    def render(self, task: Task) -> Text:
        """Return what the column shows."""
        if task.speed is None or (task.total or 0) < _BYTES:
            return Text("")
        left = "" if task.time_remaining is None else f", {task.time_remaining:.0f} s left"
        return Text(f"{task.speed / 1e6:.1f} MB/s{left}")
