"""Pass phrases: from the terminal, a file or an environment variable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake.errors import UsageError, about

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nodebake.profile.pki import Passphrase

AUTHORITY = "pki.authority.passphrase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Everything a pass phrase may come from.

    Attributes:
        section: which of the three; None for no pass phrase.
        whose: what it opens, for messages: `edge's authority`.
        place: where the user says which of the three, for messages: a dotted path of the profile, or flags.
        directory: what file names are relative to.
        ask: shows a prompt and returns what was typed; None without a terminal.
        environ: environment variables.
    """

    section: Passphrase | None
    whose: str
    place: str = AUTHORITY
    directory: Path
    ask: Callable[[str], str] | None
    environ: Mapping[str, str] = field(repr=False)

    def passphrase(self, *, twice: bool) -> bytes | None:
        """Return the pass phrase, or None if the profile wants none.

        Args:
            twice: nothing is encrypted with it yet, so that a slip of the finger would lock the key away.

        Raises:
            UsageError: it cannot be had, is empty, or was not typed the same way twice.
        """
        if self.section is None:
            return None
        with about(self.place):
            found = self._found(self.section, twice=twice)
            if not found:
                raise UsageError(
                    f"the pass phrase of {self.whose} is empty",
                    hint=f"give one, or leave {self.place} out",
                )
        return found.encode()

    def _found(self, section: Passphrase, *, twice: bool) -> str:
        if section.prompt:
            return self._prompt(twice=twice)
        if section.file:
            return self._first_line(self.directory / section.file)
        return self._variable(section.env or "")

    def _prompt(self, *, twice: bool) -> str:
        if self.ask is None:
            raise UsageError(
                f"the pass phrase of {self.whose} is to be typed, and there is no terminal",
                hint=f"run it on a terminal, or name a file or an environment variable: {self.place}",
            )
        found = self.ask(f"Pass phrase of {self.whose}: ")
        if twice and self.ask("The same again: ") != found:
            raise UsageError("the two pass phrases differ", hint="nothing was written; try again")
        return found

    def _variable(self, name: str) -> str:
        found = self.environ.get(name)
        if found is None:
            raise UsageError(
                f"the environment variable {name}, for the pass phrase of {self.whose}, is not set",
                hint=f"export {name}, or change {self.place}",
            )
        return found

    def _first_line(self, path: Path) -> str:
        try:
            return next(iter(path.read_text().splitlines()), "")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", "not UTF-8")
            raise UsageError(
                f"cannot read the pass phrase of {self.whose} from {path}: {why}",
                hint=f"put it into the first line of that file, or change {self.place}",
            ) from error
