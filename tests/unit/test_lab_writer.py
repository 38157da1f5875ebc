"""Who writes all the time, and how long it had to wait."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, cast

import pytest

from nodebake.errors import BuildError
from nodebake.lab.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nodebake.lab.judge import Judge


class Cluster:
    """Stands where the judge stands: takes writes, or does not, as the test says."""

    def __init__(self, answers: Iterator[bool], done: Callable[[], None]) -> None:
        """Take `answers`, one per write; at their end call `done`."""
        self.answers, self.done = answers, done
        self.kept: dict[str, str] = {}

    def put(self, key: str, value: str) -> None:
        """Keep what is written, and acknowledge it or not."""
        self.kept[key] = value
        answer = next(self.answers, None)
        if answer is None:
            self.done()
        if not answer:
            raise BuildError("no leader")


def writer_to(cluster: Cluster, *, clock: Callable[[], float]) -> Writer:
    """Return somebody who writes to `cluster`, which is all of a judge that a writer needs."""
    return Writer(cast("Judge", cluster), prefix="lab/sequence/", clock=clock)


@pytest.mark.parametrize(
    ("answers", "acknowledged", "attempted"),
    [((True, True), 2, 3), ((True, False, False, True), 2, 3), ((False,), 0, 1), ((), 0, 1)],
)
def test_a_write_without_an_answer_is_written_again(
    answers: tuple[bool, ...], acknowledged: int, attempted: int
) -> None:
    """Keys are sequential without a gap; at most the last one was never acknowledged."""
    cluster = Cluster(iter(answers), lambda: writer.stop())  # noqa: PLW0108 - writer comes later
    writer = writer_to(cluster, clock=lambda: 0.0)
    writer.run()
    expected = [f"lab/sequence/{number:06}" for number in range(1, attempted + 1)]
    assert (expected, expected[:acknowledged], cluster.kept) == (
        list(writer.attempted),
        list(writer.acknowledged),
        writer.attempted,
    )


def test_the_longest_wait_after_each_event_is_its_stall() -> None:
    """A wait belongs to the event it ended after; waits before the first event are nobody's."""
    ticks = iter((0.0, 5.0, 5.5, 9.0, 9.2, 20.0))
    writer = writer_to(Cluster(iter(()), lambda: None), clock=lambda: next(ticks))
    writer._times = [1.0, 4.9, 5.4, 8.4, 8.5, 9.1, 15.0]
    writer._marks = [("cut", 5.0), ("healed", 9.0)]
    assert [("cut", 3.0), ("healed", 5.9)] == [(one.why, one.seconds) for one in writer.stalls()]


def test_no_write_after_an_event_is_no_stall() -> None:
    """There is nothing to measure."""
    numbers = count()
    writer = writer_to(Cluster(iter(()), lambda: None), clock=lambda: float(next(numbers)))
    writer.mark("cut")
    assert writer.stalls() == []
