"""YAML text -> values that know the line they were written in."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import yaml

from nodebake.errors import Problem, ProfileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DEEPEST = 40
_MOST_VALUES = 50_000
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./*-]*", re.ASCII)
_TAG = "tag:yaml.org,2002:"
_TEXTS = {"str", "timestamp", "value"}
_SCALARS = {*_TEXTS, "null", "bool", "int", "float"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A value as it stands in a file.

    Attributes:
        value: a scalar, a tuple of `Written` or a dictionary of them.
        where: `file:line` of the value; for the value of a key, the key's line.
        path: dotted path of the value in its file.
        text: the characters of a scalar, before YAML made a number or a boolean of them.
    """

    value: Any
    where: str
    path: str = ""
    text: str = ""

    def plain(self) -> Any:  # noqa: ANN401 - whatever YAML can say
        """Return the value without its positions."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, tuple):
            return [child.plain() for child in self.value]
        return self.value

    def walk(self, path: str = "") -> Iterator[tuple[str, Written]]:
        """Yield the dotted path of every value in it, and the value; itself first."""
        yield path, self
        for step, child in self.children():
            yield from child.walk(join(path, step))

    def children(self) -> Iterator[tuple[str | int, Written]]:
        """Yield the key or index of every value directly in it, and the value."""
        if isinstance(self.value, dict):
            yield from self.value.items()
        elif isinstance(self.value, tuple):
            yield from enumerate(self.value)

    def over(self, base: Written) -> Written:
        """Return this laid over `base`: mappings are merged, everything else is replaced."""
        if not isinstance(self.value, dict) or not isinstance(base.value, dict):
            return self
        merged = dict(base.value)
        for key, child in self.value.items():
            merged[key] = child.over(merged[key]) if key in merged else child
        return replace(self, value=merged)


def join(path: str, step: str | int) -> str:
    """Return the dotted path of a key or an index under `path`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    name = step if _PLAIN.fullmatch(step) else repr(step)
    return f"{path}.{name}" if path else name


def read(content: bytes, file: str) -> Written:
    """Return what the YAML document `content` says; `file` is its name in messages.

    Raises:
        ProfileError: it is not UTF-8, not YAML, or uses what a profile may not.
    """
    text = _decoded(content, file)
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _refused(file, error.problem_mark, *_broken(error, text)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _stop(f"{file}:{line}", f"the character {chr(error.character)!r}", "remove it") from error
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode, such as \UFFFFFFFF
        line = loader.line + 1 if loader else 1
        raise _stop(f"{file}:{line}", "an escape that is not a character", "remove it") from error
    if node is None:
        raise _stop(
            file, "the file is empty", "begin with schema: 1; the profiles that come along are examples"
        )
    reading = _Reading(file)
    written = reading.written(node, where=f"{file}:{node.start_mark.line + 1}")
    if reading.problems:
        raise ProfileError(reading.problems)
    return written


def _decoded(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _stop(f"{file}:{line}", "not UTF-8 text", "save the file as UTF-8") from error


def _stop(where: str, what: str, todo: str) -> ProfileError:
    return ProfileError([Problem(where=where, what=what, todo=todo)])


def _refused(file: str, mark: yaml.Mark | None, what: str, todo: str) -> ProfileError:
    return _stop(f"{file}:{mark.line + 1}" if mark else file, what, todo)


def _broken(error: yaml.MarkedYAMLError, text: str) -> tuple[str, str]:
    """Say in our words what the parser stumbled over."""
    mark = error.problem_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    problem = error.problem or "it cannot be read"
    if isinstance(error, _TooDeepError):
        return problem, "a profile needs no more than five levels"
    if "\t" in line and ("\\t" in problem or line.lstrip(" ").startswith("\t")):
        return "a tab in the indentation", "indent with spaces"
    for clue, words in _CLUES.items():
        if clue in problem:
            return words
    return (
        f"not valid YAML: {problem}",
        "look at the indentation, the brackets and the quotes round this line",
    )


_CLUES: Mapping[str, tuple[str, str]] = {
    "expected a single document": ("a second YAML document", "put each profile into a file of its own"),
    "but found another document": ("a second YAML document", "put each profile into a file of its own"),
    "mapping values are not allowed": (
        "not valid YAML: a colon where none may stand",
        "check the indentation, or quote a value that contains ': '",
    ),
    "found undefined alias": ("not valid YAML: an alias of nothing", "quote a value that begins with *"),
    "cannot start any token": (
        "not valid YAML: a value begins with a character that YAML keeps for itself",
        "quote the value",
    ),
    "could not find expected ':'": ("not valid YAML: a key without a colon", "write key: value"),
    "unexpected end of stream": ("not valid YAML: the file ends inside quotes", "close them"),
}


class _TooDeepError(yaml.MarkedYAMLError):
    pass


class _Loader(yaml.SafeLoader):
    """A loader whose nesting has a limit of ours instead of the interpreter's."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _TooDeepError(
                problem=f"more than {_DEEPEST} levels in each other", problem_mark=self.get_mark()
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reading:
    """One document on its way from YAML nodes to `Written`, and what is wrong with it."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._left = _MOST_VALUES
        self._constructor = yaml.constructor.SafeConstructor()

    def written(self, node: yaml.Node, *, where: str, path: str = "", above: tuple[int, ...] = ()) -> Written:
        self._left -= 1
        if self._left < 0 or len(above) > _DEEPEST:  # aliases of aliases grow without bounds
            raise _stop(where, "too many values in each other", "write out what the aliases stand for")
        if id(node) in above:
            return self._wrong(where, path, "an alias of what it stands in", "write the value out")
        kind = node.tag.removeprefix(_TAG)
        inside = (*above, id(node))
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, where, path, inside)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            items = (
                self.written(item, where=self._at(item), path=join(path, index), above=inside)
                for index, item in enumerate(node.value)
            )
            return Written(value=tuple(items), where=where, path=path)
        if isinstance(node, yaml.ScalarNode) and kind in _SCALARS:
            return self._scalar(node, kind, where, path)
        tag = node.tag.replace(_TAG, "!!")
        return self._wrong(where, path, f"the tag {tag!r}", "remove it; a profile is made of plain values")

    def _mapping(self, node: yaml.MappingNode, where: str, path: str, above: tuple[int, ...]) -> Written:
        values: dict[str, Written] = {}
        for key, value in node.value:
            line = self._at(key)
            name = self._key(key, line, path)
            if name is None:
                continue
            if name in values:
                first = values[name].where.removeprefix(f"{self.file}:")
                self._wrong(
                    line, join(path, name), f"this key is already on line {first}", "keep one of them"
                )
                continue
            values[name] = self.written(value, where=line, path=join(path, name), above=above)
        return Written(value=values, where=where, path=path)

    def _key(self, key: yaml.Node, line: str, path: str) -> str | None:
        if not isinstance(key, yaml.ScalarNode):
            self._wrong(line, path, "a list or a mapping as a key", "use a word")
        elif key.tag == f"{_TAG}merge":
            self._wrong(line, path, "<< is not known here", "use extends: at the top of the file")
        elif key.tag.removeprefix(_TAG) not in _TEXTS:
            self._wrong(line, path, f"the key {key.value!r} is not a string to YAML", "put it in quotes")
        elif not _encodable(key.value):
            self._wrong(line, path, "half a character in a key", "remove the escape")
        else:
            return str(key.value)
        return None

    def _scalar(self, node: yaml.ScalarNode, kind: str, where: str, path: str) -> Written:
        if not _encodable(node.value):
            return self._wrong(
                where, path, "half a character", r"remove the escape between \ud800 and \udfff"
            )
        if kind in _TEXTS:
            return Written(value=str(node.value), where=where, path=path, text=str(node.value))
        try:
            value = self._constructor.construct_object(node)
        except (ValueError, LookupError, OverflowError):  # 0b_ and !!int x are numbers by their looks only
            return self._wrong(where, path, f"{node.value[:40]!r} is no {kind}", "put it in quotes")
        return Written(value=value, where=where, path=path, text=str(node.value))

    def _at(self, node: yaml.Node) -> str:
        return f"{self.file}:{node.start_mark.line + 1}"

    def _wrong(self, where: str, path: str, what: str, todo: str) -> Written:
        self.problems.append(Problem(where=where, path=path, what=what, todo=todo))
        return Written(value=None, where=where, path=path)


def _encodable(text: str) -> bool:
    # "\ud800" in double quotes is half of a surrogate pair: a str to Python that no file can hold.
    return not any("\ud800" <= character <= "\udfff" for character in text)
