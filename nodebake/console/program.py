"""Invoke's program, for which wrong arguments are the user's error and not a failed build."""

from __future__ import annotations

from invoke import __version__
from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from nodebake.errors import UsageError


class Tasks(Program):
    """The command line over `tasks.py`."""

    @classmethod
    def of_checkout(cls) -> Tasks:
        """Return the program as it names itself in its help."""
        return cls(name="nodebake tasks, by Invoke", binary="./invoke", version=__version__)

    def parse_tasks(self) -> None:
        """Parse the tasks and their flags.

        Raises:
            Exit: with the exit code of a `UsageError`.
        """
        try:
            super().parse_tasks()
        except (ParseError, ValueError) as error:  # ValueError: `--runs x`
            raise Exit(f"{error}; ./invoke --list names the tasks", code=UsageError.exit_code) from error
