"""What `./invoke` runs: invoke's own command line over `tasks.py`, with our exit codes."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType


class _Interrupted(SystemExit):
    """Ctrl-C; a KeyboardInterrupt would be answered by invoke, with 1 and no word."""


def main() -> None:
    """Run the tasks on the command line.

    Raises:
        SystemExit: the command failed; 130 when interrupted, as a shell reports SIGINT.
    """
    try:
        signal.signal(signal.SIGINT, _interrupt)
        from nodebake.console.program import Tasks  # noqa: PLC0415 - loading can be interrupted too

        Tasks.of_checkout().run()
    except _Interrupted:
        sys.stderr.write("interrupted; what was written before is whole\n")
        raise


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # impatience must not stop the tidying up
    raise _Interrupted(130)


if __name__ == "__main__":
    main()
