"""Checks of `etcd.settings`: names and types against the release of etcd that will read them."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from nodebake.components.etcd.keys import KEYS, OWNED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.components.etcd.keys import Key
    from nodebake.profile.types import Scalar

_NANOSECONDS = {"ns": 1, "us": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"^(\d+)(ns|us|ms|s|m|h)$")


def check_settings(
    settings: dict[str, Scalar], release: tuple[int, int, int]
) -> Iterator[tuple[str, str, str]]:
    """Yield the key, what is wrong with it and what to do, for every setting that etcd would not take."""
    for name, value in settings.items():
        key = KEYS.get(name)
        if key is not None and not key.known_to(release):
            yield (name, *_not_in_release(name, key, release))
        elif name in OWNED:
            yield (name, *_owned(name))
        elif key is None:
            yield (name, f"etcd {_text(release)} has no such setting", _suggestion(name, release))
        else:
            yield from ((name, *wrong) for wrong in _type(key, value))
            yield from ((name, *wrong) for wrong in _twice(name, settings, release))


def _not_in_release(name: str, key: Key, release: tuple[int, int, int]) -> tuple[str, str]:
    minor = release[1]
    if minor in key.since:
        return f"etcd has this since 3.{minor}.{key.since[minor]}", "take a newer etcd.version or remove it"
    if minor > max(key.since):
        return f"etcd dropped this in 3.{max(key.since) + 1} and would ignore it", _replacement(name, release)
    newer = min(known for known in key.since if known > minor)
    return f"etcd has this since 3.{newer}.{key.since[newer]}", "take a newer etcd.version or remove it"


def _replacement(name: str, release: tuple[int, int, int]) -> str:
    plain = name.removeprefix("experimental-")
    if plain != name and plain in KEYS and KEYS[plain].known_to(release):
        return f"write {plain}"
    if plain != name and KEYS["feature-gates"].known_to(release):
        return "remove it; look whether feature-gates has it now"
    return "remove it"


def _owned(name: str) -> tuple[str, str]:
    source = OWNED[name]
    if source:
        return f"nodebake writes this one itself, from {source}", "remove it here"
    return "nodebake decides this one, the cluster depends on it", "remove it"


def _suggestion(name: str, release: tuple[int, int, int]) -> str:
    usable = [known for known, key in KEYS.items() if key.known_to(release)]
    close = get_close_matches(name.lower().replace("_", "-"), usable, n=1)
    return f"did you mean {close[0]}?" if close else "see etcd's documentation of its configuration file"


def _type(key: Key, value: Scalar) -> Iterator[tuple[str, str]]:
    match key.kind:
        case "bool" if not isinstance(value, bool):
            yield "must be true or false", "write it without quotes"
        case "number" if not _is_count(value):
            yield "must be a whole number", "write it without quotes and unit"
        case "duration" if not _is_count(value):
            yield "must be a whole number of nanoseconds", f"write {_nanoseconds(value)}"
        case "string" | "list" if not isinstance(value, str):
            yield "must be text", "put it in quotes"


def _is_count(value: Scalar) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _nanoseconds(value: Scalar) -> str:
    match = _DURATION.match(str(value))
    return (
        str(int(match[1]) * _NANOSECONDS[match[2]]) if match else "for instance 5000000000 for five seconds"
    )


def _twice(
    name: str, settings: dict[str, Scalar], release: tuple[int, int, int]
) -> Iterator[tuple[str, str]]:
    plain = name.removeprefix("experimental-")
    if plain != name and plain in settings:
        yield f"etcd does not start with both this and {plain}", f"keep {plain}"
    if name == "experimental-initial-corrupt-check" and KEYS["feature-gates"].known_to(release):
        yield "etcd does not start with both this and the feature gate, which nodebake sets", "remove it"


def _text(release: tuple[int, int, int]) -> str:
    return ".".join(str(number) for number in release)
