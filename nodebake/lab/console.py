"""A machine's serial console: kept in a file with timestamps, watched for stages."""

from __future__ import annotations

import threading
from collections import deque
from typing import IO, TYPE_CHECKING

from nodebake.lab.stages import gave_up, is_panic, plain, stage_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TAIL = 25


class Console:
    """The console of one machine, over all its starts; lines carry the lab's seconds.

    Attributes:
        path: the file.
        last: the latest lines.
        panic: the line with which the guest's kernel gave up; empty if it did not.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float], reached: Callable[[str, float], None]
    ) -> None:
        """Begin the file anew.

        Args:
            path: the file.
            clock: seconds since the lab started.
            reached: told the stages, with the time.
        """
        self.path = path
        self.last: deque[str] = deque(maxlen=_TAIL)
        self.panic = ""
        self._clock, self._reached = clock, reached
        self._seen: list[str] = []
        path.write_text("", encoding="utf-8")

    def attach(self, stream: IO[bytes]) -> threading.Thread:
        """Read `stream` to its end, in a thread of its own."""
        thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        thread.start()
        return thread

    def note(self, text: str) -> None:
        """Write a line of the lab's own into the file."""
        self._line(f"-- lab: {text}")

    def said(self, text: str) -> bool:
        """Say whether any line so far has `text` in it."""
        return any(text in line for line in list(self._seen))

    def gave_up(self, service: str) -> bool:
        """Say whether any line so far says that a service could not be started."""
        return any(gave_up(line, service) for line in list(self._seen))

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for raw in stream:
                line = plain(raw)
                if line:
                    self._line(line)

    def _line(self, line: str) -> None:
        now = self._clock()
        stage = stage_of(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{now:9.3f} {line}\n")
        self.last.append(line)
        self._seen.append(line)
        if is_panic(line):
            self.panic = self.panic or line
        if stage:
            self._reached(stage, now)
