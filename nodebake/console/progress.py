"""Listeners for long work: plain lines for logs, bars for a terminal."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from typing import TextIO

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PATIENCE = 1.0  # seconds a task may take before a line says that it runs


class Lines:
    """A listener for logs: a line per note, and per task that takes more than a second; no tricks."""

    def __init__(self, to: TextIO) -> None:
        self._to, self._lock = to, threading.Lock()
        self._running: dict[str, tuple[float, threading.Timer]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for task in list(self._running):
            self._running.pop(task)[1].cancel()

    def start(self, task: str, total: int | None = None) -> None:
        """Begin `task`; it is worth a line when it still runs after a second."""
        del total
        timer = threading.Timer(PATIENCE, self.note, [f"{task} ..."])
        timer.daemon = True
        self._running[task] = (time.monotonic(), timer)
        timer.start()

    def advance(self, task: str, units: int = 1) -> None:
        """Say nothing; a log has the beginning and the end."""

    def finish(self, task: str) -> None:
        """End `task`, with a line if there was one for its beginning."""
        began, timer = self._running.pop(task, (time.monotonic(), None))
        if timer is not None:
            timer.cancel()
        took = time.monotonic() - began
        if took > PATIENCE:
            self.note(f"{task}: done in {took:.1f} s")

    def note(self, text: str) -> None:
        """Write a line."""
        with self._lock:
            self._to.write(text + "\n")
            self._to.flush()


class Drawn:
    """A listener for a terminal: a bar per task, gone when it is done.

    While there is no task nothing is drawn, for that would wipe out a question on the same terminal.
    """

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, task: str, total: int | None = None) -> None:
        """Draw a bar."""
        self._bars.start()
        self._tasks[task] = self._bars.add_task(task, total=total)

    def advance(self, task: str, units: int = 1) -> None:
        """Move the bar."""
        if task in self._tasks:
            self._bars.advance(self._tasks[task], units)

    def finish(self, task: str) -> None:
        """Remove the bar."""
        if task in self._tasks:
            self._bars.remove_task(self._tasks.pop(task))
        if not self._tasks:
            self._bars.stop()

    def note(self, text: str) -> None:
        """Write a line above the bars."""
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)


def bars() -> Drawn:
    """Return a listener that draws on standard error."""
    from rich.console import Console  # noqa: PLC0415 - slow to import, and only a terminal needs it
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - same

    from nodebake.console.rate import Rate  # noqa: PLC0415 - same

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Rate(),
        TimeElapsedColumn(),
    )
    return Drawn(Progress(*columns, console=Console(stderr=True), transient=True))
