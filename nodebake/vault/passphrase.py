"""The pass phrase of the authority's key: from the terminal, a file or an environment variable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake.errors import UsageError, about

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nodebake.profile.pki import Passphrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Everything a pass phrase may come from.

    Attributes:
        section: `pki.authority.passphrase` of the profile, if the key is to be encrypted.
        cluster: name of the cluster, for the prompt.
        directory: where the profile lies; file names are relative to it.
        ask: shows a prompt and returns what was typed; None without a terminal.
        environ: environment variables.
    """

    section: Passphrase | None
    cluster: str
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
        with about("pki.authority.passphrase"):
            found = self._found(self.section, twice=twice)
            if not found:
                raise UsageError(
                    f"the pass phrase for {self.cluster}'s authority is empty",
                    hint="give one, or leave pki.authority.passphrase out",
                )
        return found.encode()

    def _found(self, section: Passphrase, *, twice: bool) -> str:
        if section.prompt:
            return self._prompt(twice=twice)
        if section.file:
            return _first_line(self.directory / section.file)
        return self._variable(section.env or "")

    def _prompt(self, *, twice: bool) -> str:
        if self.ask is None:
            raise UsageError(
                f"the pass phrase for {self.cluster}'s authority is to be typed, and there is no terminal",
                hint="run it on a terminal, or use pki.authority.passphrase: {env: NAME} or {file: NAME}",
            )
        found = self.ask(f"Pass phrase for {self.cluster}'s authority: ")
        if twice and self.ask("The same again: ") != found:
            raise UsageError("the two pass phrases differ", hint="nothing was written; try again")
        return found

    def _variable(self, name: str) -> str:
        found = self.environ.get(name)
        if found is None:
            raise UsageError(
                f"the environment variable {name}, for the authority's pass phrase, is not set",
                hint=f"export {name}, or change pki.authority.passphrase",
            )
        return found


def _first_line(path: Path) -> str:
    try:
        return next(iter(path.read_text().splitlines()), "")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the authority's pass phrase from {path}: {getattr(error, 'strerror', 'not UTF-8')}",
            hint="put it into the first line of that file, or change pki.authority.passphrase",
        ) from error
