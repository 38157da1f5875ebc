"""What the user sees: progress, results, errors and exit codes."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nodebake.console.certificates import (
    certificates_as_json,
    certificates_as_text,
    renewed_as_text,
    replaced_as_text,
    revoked_as_text,
    rotated_as_text,
)
from nodebake.console.differences import differences_as_json, differences_as_text
from nodebake.console.flags import CACHE, CHECKOUT, Flags, ask, content, duration, path, phrase, ssh
from nodebake.console.inputs import cache_as_text, confirmed_as_text, vendored_as_text
from nodebake.console.members import adjusted_as_text, upgraded_as_text
from nodebake.console.progress import Lines, bars
from nodebake.console.provenance import (
    inspected_as_json,
    inspected_as_text,
    reproduced_as_text,
    signed_as_text,
    verification_key,
    verified_as_text,
)
from nodebake.console.text import as_json, built, plan_as_json, plan_as_text, published, pulled, shown
from nodebake.errors import NodebakeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nodebake.progress import Progress

__all__ = [
    "CACHE",
    "CHECKOUT",
    "Flags",
    "adjusted_as_text",
    "as_json",
    "ask",
    "built",
    "cache_as_text",
    "certificates_as_json",
    "certificates_as_text",
    "confirmed_as_text",
    "content",
    "differences_as_json",
    "differences_as_text",
    "duration",
    "inspected_as_json",
    "inspected_as_text",
    "path",
    "phrase",
    "plan_as_json",
    "plan_as_text",
    "prompt",
    "published",
    "pulled",
    "raw",
    "renewed_as_text",
    "replaced_as_text",
    "reproduced_as_text",
    "revoked_as_text",
    "rotated_as_text",
    "say",
    "session",
    "shown",
    "signed_as_text",
    "ssh",
    "upgraded_as_text",
    "vendored_as_text",
    "verification_key",
    "verified_as_text",
]


@contextmanager
def session() -> Iterator[Progress]:
    """Give a listener for a command's work, and turn errors into messages and exit codes.

    Raises:
        SystemExit: the command failed or was interrupted; what there was to say has been said.
    """
    try:
        with bars() if sys.stderr.isatty() else Lines(sys.stderr) as progress:
            yield progress
    except NodebakeError as error:
        raise _stop(str(error), error.exit_code) from error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise _stop(f"{place}{error.strerror or error}", 1) from error


def prompt() -> Callable[[str], str] | None:
    """Return a function that asks a question and returns the answer; None where nobody can answer."""
    return _asked if sys.stdin.isatty() else None


def say(text: str) -> None:
    """Write a command's result to standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def raw(output: bytes) -> None:
    """Pass on what another program wrote."""
    sys.stdout.buffer.write(output)
    sys.stdout.flush()


def _stop(text: str, code: int) -> SystemExit:
    sys.stderr.write(text.rstrip() + "\n")
    return SystemExit(code)


def _asked(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\n")
