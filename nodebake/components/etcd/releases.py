"""Which release of etcd may follow which on a cluster that runs (etcd's documentation, "Upgrading")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Release = tuple[int, int, int]

# The oldest release of the minor version before, by the minor version that is upgraded to.
_FROM: dict[int, Release] = {6: (3, 5, 26), 7: (3, 6, 11)}
# The log's entries about users are others from here on (etcd's guide to 3.5).
_OTHER_LOG: Release = (3, 5, 0)
# They can lose data at a crash (etcd's postmortem of 2022, "v3.5 data inconsistency").
_UNSAFE: tuple[Release, ...] = ((3, 5, 0), (3, 5, 1), (3, 5, 2))


def release(version: str) -> Release:
    """Return a version as numbers that compare; of Debian's `3.5.16-4`, upstream's.

    Raises:
        ValueError: it is none.
    """
    match = re.match(r"(?:\d+:)?(\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        raise ValueError(f"{version} is not a release of etcd")
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


def objection(running: Iterable[Release], wanted: Release, *, users: bool = False) -> tuple[str, str] | None:
    """Return why members must not go from `running` to `wanted`, and what to do instead; None if they may.

    Args:
        running: what the members run now.
        wanted: what they are to run.
        users: whether etcd has users and asks who is who.
    """
    for one in sorted(set(running)):
        if wrong := _between(one, wanted):
            return wrong
        if users and one < _OTHER_LOG <= wanted:
            return (
                f"etcd with users cannot go from {text(one)} to {text(wanted)} member by member",
                "take a backup, and restore it into a new cluster of the new release",
            )
    return None


def _between(one: Release, wanted: Release) -> tuple[str, str] | None:
    if wanted < one:
        return (
            f"etcd {text(wanted)} is older than {text(one)}, whose data is not for it",
            f"ask for {text(one)} or later; the way back is a backup in a new cluster",
        )
    if wanted == one:
        return None
    if wanted in _UNSAFE:
        return f"etcd {text(wanted)} can lose data at a crash", "take 3.5.3 or later"
    needed = _FROM.get(wanted[1], (3, 0, 0))
    if wanted[1] - one[1] > 1:
        between = f"3.{one[1] + 1}"
        return (
            f"from etcd {text(one)} to {text(wanted)} a minor version is left out",
            f"first upgrade to the newest {between}",
        )
    if wanted[1] > one[1] and one < needed:
        return (
            f"etcd {text(one)} is too old for an upgrade to {text(wanted)}",
            f"first upgrade to {text(needed)} or later",
        )
    return None


def text(one: Release) -> str:
    """Return it as it is written."""
    return ".".join(map(str, one))
