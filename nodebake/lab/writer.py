"""Somebody who writes sequential keys all the time, and remembers what was acknowledged when."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from nodebake.errors import BuildError
from nodebake.lab.record import Stall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_RETRY = 0.2


class Store(Protocol):
    """Where keys can be put."""

    def put(self, key: str, value: str) -> None:
        """Put a key; BuildError unless it was acknowledged."""


class Writer:
    """Puts one key after the other; a key without an answer is put again until there is one.

    Attributes:
        prefix: what every key begins with.
        acknowledged: key to value.
        attempted: the same, and the one whose answer never came.
    """

    def __init__(self, judge: Store, *, prefix: str, clock: Callable[[], float]) -> None:
        """Prepare to write below `prefix` through `judge`; `clock` tells the lab's seconds."""
        self.prefix = prefix
        self.acknowledged: dict[str, str] = {}
        self.attempted: dict[str, str] = {}
        self._judge, self._clock = judge, clock
        self._times: list[float] = []
        self._marks: list[tuple[str, float]] = []
        self._stop = threading.Event()

    @property
    def count(self) -> int:
        """How many writes were acknowledged."""
        return len(self.acknowledged)

    def mark(self, why: str) -> None:
        """Say that something happens now, so that the stall after it has a name."""
        self._marks.append((why, self._clock()))

    def stalls(self) -> list[Stall]:
        """Return for each mark the longest wait for an acknowledgement that ended after it."""
        found = []
        ends = [moment for _, moment in self._marks[1:]] + [float("inf")]
        for (why, moment), end in zip(self._marks, ends, strict=True):
            pairs = zip(self._times, self._times[1:], strict=False)
            waits = [later - earlier for earlier, later in pairs if later > moment and earlier < end]
            if waits:
                found.append(Stall(why=why, seconds=round(max(waits), 3)))
        return found

    def run(self) -> None:
        """Write until told to stop."""
        while not self._stop.is_set():
            number = len(self.acknowledged) + 1
            key, value = f"{self.prefix}{number:06}", f"value-{number}"
            self.attempted[key] = value
            try:
                self._judge.put(key, value)
            except BuildError:
                self._stop.wait(_RETRY)
                continue
            self._times.append(self._clock())
            self.acknowledged[key] = value

    def stop(self) -> None:
        """Ask it to stop after the present attempt."""
        self._stop.set()


@contextmanager
def writing(judge: Store, prefix: str, *, clock: Callable[[], float]) -> Iterator[Writer]:
    """Let somebody write below `prefix` in a thread of their own, to the end of the block."""
    writer = Writer(judge, prefix=prefix, clock=clock)
    thread = threading.Thread(target=writer.run, daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        writer.stop()
        thread.join(timeout=60)
