"""What `./invoke` runs: invoke's own command line over `tasks.py`, with our exit codes."""

from __future__ import annotations

from invoke import __version__
from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from nodebake.errors import UsageError


class Tasks(Program):
    """Invoke's program, for which wrong arguments are the user's error and not a failed build."""

    def parse_tasks(self) -> None:
        """Parse the tasks and their flags.

        Raises:
            Exit: with the exit code of a `UsageError`.
        """
        try:
            super().parse_tasks()
        except ParseError as error:
            raise Exit(f"{error}; ./invoke --list names the tasks", code=UsageError.exit_code) from error


if __name__ == "__main__":
    Tasks(name="nodebake tasks, by Invoke", binary="./invoke", version=__version__).run()
