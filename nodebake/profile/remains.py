"""What is left of a profile without its wrong values, so that all the rest can be checked as well."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from nodebake.profile.positions import Written
from nodebake.profile.schema import Profile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nodebake.errors import Problem

_Way = tuple[int | str, ...]
# For what a profile cannot be without.
_STAND_INS = {"schema": 1, "cluster": {"name": "cluster"}, "machine": {"os": "debian"}, "outputs": ["rootfs"]}
# Where the first is left out, nothing can be said about the second.
_DEPENDENT = (
    (r"nodes\[\d+\](\.(name|address).*)?", r"nodes|network\.gateway.*"),
    (r"machine(\.os)?", r"outputs.*|network\.interface|system\.packages|machine\.data.*"),
    (r"machine(\.(board|data\..*))?", r"machine\.data.*"),
    (r"machine(\.(board|memory))?", r"machine\.arch|etcd\.(quota_backend_bytes|m\w+_(limit|bytes))"),
    (r"etcd\.(heartbeat\w+|election\w+)", r"etcd\.(heartbeat\w+|election\w+)"),
    (r"etcd\.\w+_port", r"etcd\.\w+_port"),
    (r"etcd\.\w+_bytes", r"etcd\.\w+_bytes"),
    (r"etcd\.auto_\w+", r"etcd\.auto_\w+"),
    (r"etcd\.(data|wal)_dir|machine\.data.*", r"etcd\.(data|wal)_dir"),
    (r"etcd\.tls.*", r"etcd\.tls.*"),
    (r"etcd\.version", r"etcd\.settings.*"),
)


def remains(written: Written, error: ValidationError) -> tuple[Written, Profile] | None:
    """Return the profile without the values that are wrong, or None if too little is left.

    What lacks something that it cannot be without is left out too: a node without a name, for instance.
    """
    left: Written | None = written
    while left is not None:
        ways = [_way(detail["loc"]) for detail in error.errors(include_url=False)]
        left = _without(left.over(_written(_STAND_INS, written.where)), ways)
        if left is None:
            return None
        left = left.over(_written(_STAND_INS, written.where))
        try:
            return left, Profile.model_validate(left.plain())
        except ValidationError as further:
            error = further
    return None


def sound(problems: Iterable[Problem], left_out: Iterable[Problem]) -> list[Problem]:
    """Return the problems that there would also be if what is wrong with `left_out` were mended."""
    paths = [problem.path for problem in left_out]
    doubtful = [then for cause, then in _DEPENDENT if any(re.fullmatch(cause, path) for path in paths)]
    return [one for one in problems if not any(re.fullmatch(then, one.path) for then in doubtful)]


def _way(loc: _Way) -> _Way:
    return tuple(step for step in loc if step != "[key]")


def _without(written: Written, ways: Iterable[_Way]) -> Written | None:
    """Return `written` without the values that `ways` lead to, or None if nothing of it can stay."""
    steps: dict[int | str, list[_Way]] = {}
    for way in ways:
        if not way:
            return None
        steps.setdefault(way[0], []).append(way[1:])
    inside = dict(written.children())
    if not steps.keys() <= inside.keys():
        return None  # something that must be there is missing, or this is a single value for a list
    kept = {
        step: child
        for step, value in inside.items()
        if (child := _without(value, steps[step]) if step in steps else value) is not None
    }
    return replace(written, value=kept if isinstance(written.value, dict) else tuple(kept.values()))


def _written(value: object, where: str) -> Written:
    if isinstance(value, dict):
        return Written(value={key: _written(child, where) for key, child in value.items()}, where=where)
    if isinstance(value, list):
        return Written(value=tuple(_written(child, where) for child in value), where=where)
    return Written(value=value, where=where)
