"""What the user asked for on the command line, and the environment, which counts only here."""

from __future__ import annotations

import getpass
import os
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake import stamp
from nodebake.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nodebake.manifest import Manifest
    from nodebake.pipeline import Options
    from nodebake.plan import Plan
    from nodebake.upkeep import Ssh

CHECKOUT = stamp.CHECKOUT
CACHE = CHECKOUT / "cache"
_LATEST = (1 << 32) - 1  # seconds since 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags of `build` and `image`, as they were typed; empty for what was not."""

    profile: str = ""
    node: str = ""
    out: str = ""
    vault: str = ""
    mirror: str = ""
    offline: bool = False
    jobs: str = ""
    images: bool = False
    base: str = ""
    zst: bool = False
    snapshot: str = ""

    def named(self) -> str:
        """Return the profile.

        Raises:
            UsageError: none is named.
        """
        if not self.profile:
            names = ", ".join(sorted(path.stem for path in (CHECKOUT / "profiles").glob("*.yaml")))
            hint = f"add --profile NAME; there are {names}, or give a path"
            raise UsageError("no profile is named", hint=hint)
        return self.profile

    def resolved(self) -> tuple[Plan, Options]:
        """Return the profile's plan, and where it is built from and to.

        Raises:
            UsageError: see `named` and `options`.
            ProfileError: the profile is wrong.
        """
        from nodebake import pipeline  # noqa: PLC0415 - loads every room, and an unchanged build needs none

        plan = pipeline.resolve(self.named())
        return plan, self.options(plan)

    def options(self, plan: Plan) -> Options:
        """Return where `plan` is built from and to.

        Raises:
            UsageError: a flag or a variable has no sensible value.
        """
        from nodebake.pipeline import Options  # noqa: PLC0415 - loads every room, and an unchanged build needs none

        vault = self._vault()
        return Options(
            out=Path(self.out).absolute() if self.out else CHECKOUT / "build" / plan.name,
            vault=Path(vault).absolute() if vault else CHECKOUT / "vault" / plan.profile.cluster.name,
            lock=CHECKOUT / "sources.lock",
            cache=CACHE,
            mirror=self.mirror or None,
            offline=self.offline,
            node=self.node,
            epoch=epoch(),
            jobs=self._workers(),
            base=Path(self.base).absolute() if self.base else None,
            zst=self.zst,
            snapshot=Path(self.snapshot).absolute() if self.snapshot else None,
            stamp=self._stamp(),
            environ=os.environ,
        )

    def unchanged(self) -> tuple[Path, Manifest] | None:
        """Return the build's directory and manifest if the same command has nothing to do."""
        self._workers()  # a wrong number is told here as well
        # The clock decides only whether something has expired and must be issued again.
        return stamp.unchanged(self._stamp(), now=time.time())

    def _workers(self) -> int:
        if not self.jobs:
            return os.cpu_count() or 1
        if not re.fullmatch("0*[1-9][0-9]{0,3}", self.jobs, re.ASCII):
            raise UsageError(
                f"--jobs {self.jobs} is not a number of nodes", hint="use 1 to 9999, or leave it out"
            )
        return int(self.jobs)

    def _vault(self) -> str:
        return self.vault or os.environ.get("NODEBAKE_VAULT", "")

    def _stamp(self) -> Path:
        told = {**asdict(self), "jobs": "", "vault": self._vault(), "epoch": epoch(), "from": str(Path.cwd())}
        return CACHE / "stamps" / stamp.name(sorted(told.items()))


def epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/), if it is set.

    Raises:
        UsageError: it is not a number of seconds, or too large a one.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not re.fullmatch("[0-9]{1,10}", text, re.ASCII):
        raise UsageError(f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds since 1970")
    if text and int(text) > _LATEST:
        raise UsageError(
            f"SOURCE_DATE_EPOCH {text} is after the year 2106, which not every file system knows"
        )
    return int(text) if text else None


def ssh(options: Options, identity: str, *, push: bool) -> Ssh | None:
    """Return how to log in to nodes, or None without `push`; `identity` is a private key's file, or empty.

    Raises:
        UsageError: there is no such file.
    """
    if not push:
        return None
    from nodebake.upkeep import Ssh  # noqa: PLC0415 - loads every room

    path = Path(identity).absolute() if identity else None
    if path and not path.is_file():
        raise UsageError(f"--identity {identity}: there is no such file")
    return Ssh(known_hosts=options.out / "operator/known_hosts", identity=path, environ=options.environ)


def path(flag: str, text: str) -> Path:
    """Return the file that a flag names.

    Raises:
        UsageError: it names none.
    """
    if not text:
        raise UsageError(f"{flag} names no file", hint=f"add {flag} FILE")
    return Path(text).absolute()


def content(flag: str, text: str) -> bytes:
    """Return what the file that a flag names holds.

    Raises:
        UsageError: it names none, or it cannot be read.
    """
    try:
        return path(flag, text).read_bytes()
    except OSError as error:
        raise UsageError(f"{flag} {text}: {error.strerror}") from error


def phrase(whose: str, env: str, file: str, *, twice: bool) -> str:
    """Return a pass phrase: from an environment variable, the first line of a file, or the terminal.

    Args:
        whose: what it opens, for messages.
        env: the variable's name, or empty.
        file: the file's, or empty.
        twice: nothing is encrypted with it yet.

    Raises:
        UsageError: both are given, or it cannot be had.
    """
    from nodebake.profile.pki import Passphrase  # noqa: PLC0415 - slow to import
    from nodebake.vault import Asker  # noqa: PLC0415 - the same

    if env and file:
        raise UsageError("a pass phrase has one source", hint="leave out --phrase-env or --phrase-file")
    given = {"env": env} if env else {"file": str(Path(file).absolute())} if file else {"prompt": True}
    asker = Asker(
        section=Passphrase.model_validate(given),
        whose=whose,
        place="--phrase-env, --phrase-file",
        directory=Path.cwd(),
        ask=ask(),
        environ=os.environ,
    )
    return (asker.passphrase(twice=twice) or b"").decode()


def ask() -> Callable[[str], str] | None:
    """Return a function that asks for a pass phrase without showing it; None where nobody can answer."""
    return getpass.getpass if sys.stdin.isatty() else None


def duration(flag: str, text: str) -> int | None:
    """Return the seconds of a flag's value such as `60d`; None if it is not given.

    Raises:
        UsageError: it is no duration.
    """
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - slow to import

    from nodebake.profile.types import Duration, seconds  # noqa: PLC0415 - the same

    if not text:
        return None
    try:
        return seconds(TypeAdapter(Duration).validate_python(text))
    except ValidationError as error:
        raise UsageError(f"{flag} {text} is not a duration", hint="write for instance 60d or 12h") from error
