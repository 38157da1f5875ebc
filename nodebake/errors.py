"""What can go wrong, as the user meets it: an exit code, what, where and what to do next."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with what the user gave us.

    Attributes:
        where: `file:line`, or empty when the problem has no place in a file.
        path: the dotted path of the value, for instance `nodes[2].address`.
        what: what is wrong, without a full stop.
        todo: what to do about it, without a full stop.
    """

    where: str = ""
    path: str = ""
    what: str
    todo: str = ""

    def __str__(self) -> str:
        told = f"{self.what}; {self.todo}" if self.todo else self.what
        return ": ".join(part for part in (self.where, self.path, told) if part)


class NodebakeError(Exception):
    """Base of all errors that are shown to the user as a message, not as a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(f"{what}\n  {hint}" if hint else what)


class BuildError(NodebakeError):
    """The build or a check failed."""


class ProfileError(NodebakeError):
    """The profile or the arguments are wrong; carries every problem found, in the order of the file."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=_line))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _line(problem: Problem) -> tuple[bool, str, int]:
    file, _, line = problem.where.rpartition(":")
    return not problem.where, file, int(line) if line.isdigit() else 0


class UsageError(NodebakeError):
    """An argument, or a vault or directory named by one, cannot be used as it is.

    Attributes:
        what: what is wrong, without a full stop.
        hint: what to do about it.
        path: the dotted path of the profile's value that it is about, if it is about one.
    """

    exit_code = 2

    def __init__(self, what: str, *, hint: str = "", path: str = "") -> None:
        super().__init__(what, hint=hint)
        self.what, self.hint, self.path = what, hint, path


@contextmanager
def about(path: str) -> Iterator[None]:
    """Let a `UsageError` that comes out of here, and says no better, be about the profile's value `path`."""
    try:
        yield
    except UsageError as error:
        error.path = error.path or path
        raise


class InputError(NodebakeError):
    """An input could not be had or did not verify."""

    exit_code = 3


class SafetyError(NodebakeError):
    """A safety check refused."""

    exit_code = 4
