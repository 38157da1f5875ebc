"""A TOML table that knows its place in the file, for messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from nodebake.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

SHA256_DIGITS = 64
T = TypeVar("T")


class Table:
    """A TOML table that knows its place, for messages."""

    def __init__(self, file: str, place: str, content: Mapping[str, object]) -> None:
        self._file, self._place, self._content = file, place, content

    def names(self) -> tuple[str, ...]:
        """Return the keys, in the file's order."""
        return tuple(self._content)

    def has(self, key: str) -> bool:
        """Tell whether there is such a key."""
        return key in self._content

    def bad(self, key: str, what: str) -> InputError:
        """Return the error for the value at `key`."""
        return InputError(f"{self._file}: {self._at(key)}: {what}")

    def value(self, key: str, kind: type[T]) -> T:
        """Return the value at `key`, which must be of `kind`."""
        found = self._content.get(key)
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            raise self.bad(key, "is missing" if found is None else f"is not {_KINDS[kind]}")
        return found

    def table(self, key: str) -> Table:
        """Return the table at `key`."""
        return Table(self._file, self._at(key), self.value(key, dict))

    def texts(self, key: str) -> dict[str, str]:
        """Return the table at `key`, all of whose values are texts."""
        table = self.table(key)
        return {name: table.value(name, str) for name in table.names()}

    def list(self, key: str) -> tuple[str, ...]:
        """Return the list of texts at `key`."""
        found = self.value(key, list)
        if not all(isinstance(item, str) for item in found):
            raise self.bad(key, "is not a list of texts")
        return tuple(found)

    def sha256(self, key: str) -> str:
        """Return the digest at `key`."""
        text = self.value(key, str)
        if len(text) != SHA256_DIGITS or set(text) - set("0123456789abcdef"):
            raise self.bad(key, "is not a sha256 of 64 hexadecimal digits")
        return text

    def _at(self, key: str) -> str:
        shown = f'"{key}"' if "." in key else key
        return f"{self._place}.{shown}" if self._place else shown


_KINDS: Mapping[type, str] = {
    str: "a text",
    int: "a number",
    dict: "a table",
    list: "a list",
    bool: "true or false",
}


def of_release(version: str, arch: str) -> Mapping[str, str]:
    """Return what `fill` needs for a release: `arch` as upstream calls it."""
    return {"{version}": version, "{series}": ".".join(version.split(".")[:2]), "{arch}": arch}


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return `template` with every key of `values` replaced."""
    for key, value in values.items():
        template = template.replace(key, value)
    return template
