"""The only place that starts a process: an argv list, a clean environment, a pasteable failure."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from nodebake.errors import BuildError, InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

_GRACE = 10.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(name: str, *, package: str, also: str = "") -> str:
    """Return the path of the native tool `name`.

    Args:
        name: the tool's file name.
        package: the Debian package that has it, for the message.
        also: a directory to look in before those of PATH.

    Raises:
        InputError: the tool is not installed.
    """
    found = shutil.which(name, path=f"{also}:{PATH}".lstrip(":"))
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
    accept: Collection[int] = (0,),
) -> bytes:
    """Run `argv` to its end and return what it wrote to its standard output.

    Args:
        argv: program and arguments; never a shell line.
        stdin: bytes for its standard input.
        cwd: the directory to run in.
        env: variables on top of a fixed PATH, HOME and LC_ALL=C.
        timeout: seconds.
        accept: exit statuses that are no failure.

    Raises:
        BuildError: it could not be started, ran too long or failed; the message has the command as it
            can be pasted into a shell, and the last lines it wrote.
    """
    words = [str(word) for word in argv]
    pipe = subprocess.PIPE
    try:
        with subprocess.Popen(  # noqa: S603 - argv lists only, by this module's contract
            words, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=_environment(env)
        ) as process:
            out, errors = _finish(process, stdin, timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{shlex.join(words)}: {error}") from error
    if process.returncode not in accept:
        said = (errors or out).decode(errors="replace").strip().splitlines()[-20:]
        raise BuildError("\n  ".join([f"exit status {process.returncode} from: {shlex.join(words)}", *said]))
    return out


def _finish(process: subprocess.Popen[bytes], stdin: bytes, timeout: float) -> tuple[bytes, bytes]:
    """Return what the process wrote to its end; after Ctrl-C, which it has seen as well, it may tidy up."""
    try:
        return process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    except BaseException:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        process.kill()
        raise


def start(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `argv` and return while it runs; its output and errors come through one pipe, `stdout`.

    Its standard input is a pipe that ends when this program does, however that ends. It gets no signals
    from the terminal: whoever starts it ends it.

    Args:
        argv: program and arguments; never a shell line.
        env: variables on top of a fixed PATH, HOME and LC_ALL=C.

    Raises:
        BuildError: it could not be started.
    """
    words = [str(word) for word in argv]
    pipe, merged = subprocess.PIPE, subprocess.STDOUT
    try:
        return subprocess.Popen(  # noqa: S603 - argv lists only, by this module's contract
            words, stdin=pipe, stdout=pipe, stderr=merged, env=_environment(env), start_new_session=True
        )
    except OSError as error:
        raise BuildError(f"{shlex.join(words)}: {error}") from error


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    home = os.path.expanduser("~")  # noqa: PTH111 - a string is wanted
    return {"PATH": PATH, "HOME": home, "LC_ALL": "C", **(extra or {})}
