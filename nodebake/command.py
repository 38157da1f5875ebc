"""The only place that starts a process: an argv list, a clean environment, a pasteable failure."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

from nodebake.errors import BuildError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(name: str, *, package: str) -> str:
    """Return the path of the native tool `name`.

    Args:
        name: the tool's file name.
        package: the Debian package that has it, for the message.

    Raises:
        InputError: the tool is not installed.
    """
    found = shutil.which(name, path=PATH)
    if found is None:
        raise InputError(f"{name} is not installed", hint=f"run as root: apt-get install --yes {package}")
    return found


def run(
    argv: Sequence[str | Path],
    *,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> bytes:
    """Run `argv` to its end and return what it wrote to its standard output.

    Args:
        argv: program and arguments; never a shell line.
        stdin: bytes for its standard input.
        cwd: the directory to run in.
        env: variables on top of a fixed PATH, HOME and LC_ALL=C.
        timeout: seconds.

    Raises:
        BuildError: it could not be started, ran too long or failed; the message has the command as it
            can be pasted into a shell, and the last lines it wrote.
    """
    words = [str(word) for word in argv]
    clean = {"PATH": PATH, "HOME": os.path.expanduser("~"), "LC_ALL": "C", **(env or {})}  # noqa: PTH111 - a string is wanted
    try:
        done = subprocess.run(  # noqa: S603 - argv lists only, by this module's contract
            words, input=stdin, cwd=cwd, env=clean, timeout=timeout, capture_output=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{shlex.join(words)}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-20:]
        raise BuildError("\n  ".join([f"exit status {done.returncode} from: {shlex.join(words)}", *said]))
    return done.stdout
