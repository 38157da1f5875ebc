"""Conditions of a build: all that it must not depend on, as far as this machine can change it."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake.command import PATH, run
from nodebake.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_NOBODY = 65534
_LATER = "+37h"
_LOCALES = ("tr_TR.utf8", "de_DE.utf8", "C.utf8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a build is run.

    Attributes:
        told: what is unlike in it, for people.
        prefix: a command that runs the one that follows it.
        variables: the environment, besides what every process has.
        umask: of the process.
        jobs: nodes worked on at once.
        owner: user and group that the process becomes; None for the caller.
    """

    told: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    umask: int = 0o022
    jobs: int = 1
    owner: int | None = None


PLAIN = Condition(variables={"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"}, prefix=())


def unlike(checkout: Path, *, owner: bool) -> tuple[Condition, tuple[str, ...]]:
    """Return a condition that has nothing in common with `PLAIN`, and what could not be changed here.

    Args:
        checkout: where the code is, which another user must be able to read.
        owner: whether another user is to build.
    """
    told = ["directory", "umask", "number of jobs", "hash seed", "time zone", "home"]
    lacks, prefix, user = [], list[str](), None
    locale = _locale()
    told.append(f"locale ({locale})")
    if clock := shutil.which("faketime", path=PATH):
        prefix += [clock, "-f", _LATER]
        told.append(f"clock ({_LATER})")
    else:
        lacks.append("the clock: faketime is not installed")
    if (os.cpu_count() or 1) > 1 and (pinned := shutil.which("taskset", path=PATH)):
        prefix += [pinned, "--cpu-list", "0"]
        told.append("processors (one)")
    else:
        lacks.append("the number of processors: there is one, or no taskset")
    other = tuple(_other(checkout)) if owner else ()
    if other:
        prefix, user = [*prefix, *other], _NOBODY
        told.append(f"user ({_NOBODY})")
    elif owner:
        lacks.append("the user: this is not root's, or others cannot read the checkout or its Python")
    variables = {
        "TZ": "Asia/Kathmandu",
        "LC_ALL": locale,
        "LANG": locale,
        "PYTHONHASHSEED": "77",
        "HOME": "/nonexistent",
    }
    made = Condition(
        told=tuple(told), prefix=tuple(prefix), variables=variables, umask=0o077, jobs=4, owner=user
    )
    return made, tuple(lacks)


def _locale() -> str:
    known = set(run(["locale", "-a"]).decode().split())
    return next((one for one in _LOCALES if one in known), "C.UTF-8")


def _other(checkout: Path) -> Iterator[str]:
    setpriv = shutil.which("setpriv", path=PATH)
    if os.geteuid() != 0 or setpriv is None:
        return
    words = (setpriv, f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
    try:
        run(
            [*words, sys.executable, "-P", "-c", "import nodebake.pipeline"],
            env={"PYTHONPATH": str(checkout)},
        )
    except BuildError:
        return
    yield from words
