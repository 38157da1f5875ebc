"""What is wrong with a profile's values, in our words and with a place in the file."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from nodebake.errors import Problem
from nodebake.profile.positions import Written, join
from nodebake.profile.schema import Profile
from nodebake.profile.section import Section
from nodebake.profile.types import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_ONE_SLASH = re.compile(r"\b(https?):/(?!/)")
_NOTHING = Written(value=None, where="")


def urls(values: Mapping[str, Written]) -> Iterator[Problem]:
    """Yield a problem for every string with `https:/` and one slash missing, which else passes for a path."""
    for path, written in values.items():
        slip = _ONE_SLASH.search(written.value) if isinstance(written.value, str) else None
        if slip:
            scheme = slip[1]
            what = f"{told(written.value)} has one slash after {scheme}:"
            yield Problem(where=written.where, path=path, what=what, todo=f"write {scheme}://")


def problems(error: ValidationError, values: Mapping[str, Written]) -> Iterator[Problem]:
    """Yield one problem for everything pydantic found.

    Args:
        error: from validating the profile.
        values: what was validated, by dotted path.
    """
    for detail in error.errors(include_url=False):
        loc = tuple(step for step in detail["loc"] if step != "[key]")
        path, where = _place(loc, values)
        written = values.get(path, _NOTHING)
        if detail["type"] == "too_short" and written.value:
            continue  # pydantic counts only the items it found nothing wrong with
        what, todo = _words(detail, loc, written)
        yield Problem(where=where, path=path, what=what, todo=todo)


def _place(loc: tuple[int | str, ...], values: Mapping[str, Written]) -> tuple[str, str]:
    """Return the dotted path of `loc`, and the place of the innermost value of it that was written."""
    path, where = "", values[""].where
    for step in loc:
        if isinstance(step, int) and not isinstance(values[path].value, tuple):
            continue  # a single value that stands for a list of one
        path = join(path, step)
        where = values[path].where if path in values else where
    return path, where


def _words(detail: ErrorDetails, loc: tuple[int | str, ...], written: Written) -> tuple[str, str]:
    """Return what is wrong and what to do about it."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        what, _, todo = str(context["error"]).partition("; ")
        return what, todo
    if kind == "extra_forbidden":
        return "unknown key", _suggestion(str(loc[-1]), _keys(loc[:-1]))
    if kind == "literal_error":
        return _not_one_of(str(context["expected"]), written)
    if written.value is None and kind in _WRONG_TYPE:
        return "nothing is written here", "write a value, or remove the key"
    if kind in _WRONG_TYPE:
        return _WRONG_TYPE[kind](written)
    return _LIMITS[kind](told(written.value), context) if kind in _LIMITS else (detail["msg"], "")


def _not_text(written: Written) -> tuple[str, str]:
    kinds = {bool: "a boolean", int: "a number", float: "a number"}
    if type(written.value) in kinds:
        return (
            f"{written.text} is {kinds[type(written.value)]} to YAML",
            f'put it in quotes: "{written.text}"',
        )
    return f"{told(written.value)} where a string belongs", "write a single value"


def _not_whole(written: Written) -> tuple[str, str]:
    digits = isinstance(written.value, str) and written.value.isdigit()
    todo = "remove the quotes" if digits else "write digits only"
    return f"{told(written.value)} is not a whole number", todo


_WRONG_TYPE: Mapping[str, Callable[[Written], tuple[str, str]]] = {
    "string_type": _not_text,
    "int_type": _not_whole,
    "bool_type": lambda written: (f"{told(written.value)} is neither true nor false", "write one of them"),
    "model_type": lambda written: (
        ("this section cannot be switched off", "remove the line, or write keys with values under it")
        if written.value is False
        else (f"{told(written.value)} is not a mapping", "write keys with values under it")
    ),
    "dict_type": lambda written: (
        f"{told(written.value)} is not a mapping",
        "write keys with values under it",
    ),
    "tuple_type": lambda written: (f"{told(written.value)} is not a list", "begin each item with '- '"),
}
_LIMITS: Mapping[str, Callable[[str, Mapping[str, Any]], tuple[str, str]]] = {
    "missing": lambda _, __: ("missing", "add it"),
    "greater_than_equal": lambda value, limit: (f"{value} is too small", f"the smallest is {limit['ge']}"),
    "less_than_equal": lambda value, limit: (f"{value} is too large", f"the largest is {limit['le']}"),
    "too_short": lambda _, limit: ("an empty list", f"write at least {limit['min_length']}"),
    "string_too_short": lambda _, __: ("empty", "write something, or remove the key"),
    "string_too_long": lambda _, limit: ("too long", f"use at most {limit['max_length']} characters"),
}


def _not_one_of(expected: str, written: Written) -> tuple[str, str]:
    known = re.findall(r"'([^']*)'", expected)
    shown = repr(written.text) if written.text else told(written.value)
    if not known:  # prompt: true
        return f"{shown} is not {expected.lower()}", f"write {expected.lower()}, or remove the key"
    return f"{shown} is not known here", _suggestion(written.text, known)


def _suggestion(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def _keys(loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the section at `loc`."""
    section: type[Section] = Profile
    for step in loc:
        if isinstance(step, str):
            fields = {field.alias or name: field for name, field in section.model_fields.items()}
            section = next(_sections(fields[step].annotation))
    return [field.alias or name for name, field in section.model_fields.items()] + ["extends"] * (not loc)


def _sections(annotation: Any) -> Iterator[type[Section]]:  # noqa: ANN401 - typing has no type for types
    """Yield the sections that an annotation such as `tuple[Node, ...]` or `Passphrase | None` is made of."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)
