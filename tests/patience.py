"""Waiting with an end: every wait in these tests polls, and says what it waited for when it gives up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from nodebake.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PAUSE = 0.2


class GaveUpError(AssertionError):
    """What was waited for did not happen in time."""


def until(promise: str, ask: Callable[[], T], *, seconds: float = 60) -> T:
    """Return the first true answer of `ask`; a command that fails counts as "not yet".

    Args:
        promise: what is waited for, as a sentence.
        ask: the question; asked at least once.
        seconds: how long to go on; a bound, never a judgement on speed.

    Raises:
        GaveUpError: no true answer came; the last failure is its cause.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            answer, last = ask(), None
        except BuildError as error:
            answer, last = None, error
        if answer:
            return answer
        if time.monotonic() > end:
            raise GaveUpError(f"did not happen in {seconds:.0f} s: {promise}") from last
        time.sleep(PAUSE)


def still(promise: str, ask: Callable[[], bool], *, seconds: float) -> None:
    """Assert that `ask` stays true for `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert ask(), f"no longer true: {promise}"
        time.sleep(PAUSE)


def after(seconds: float) -> Callable[[], bool]:
    """Return what tells whether so much time has gone by since now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
