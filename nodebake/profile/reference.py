"""The profile reference: a profile's JSON Schema as Markdown for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Node = dict[str, Any]

_TYPES = {"string": "text", "integer": "number", "number": "number", "boolean": "boolean"}
_HEAD = """\
# Profile reference

Generated from the schema by `./invoke schema --markdown`; do not edit.

A profile is one YAML file. It has at least `schema`, `cluster`, `machine`, `nodes` and `outputs`, of its own
or from the profile it extends. Unknown keys, duplicate keys and wrong types are refused, all at once and each
with its line. Sizes are bytes, or text such as `512MiB`. Durations are text such as `90m`, `7d` or `10y`,
at most `100y`.
"""


def markdown(schema: Mapping[str, Any]) -> str:
    """Return `schema` (JSON Schema draft 2020-12, as `load.schema` makes it) as one Markdown page."""
    whole = next(choice for choice in schema["anyOf"] if "properties" in choice)
    sections = _sections("", schema, schema)
    return "\n".join(
        [_HEAD, *(_section(path, node | _required(path, whole), schema) for path, node in sections)]
    )


def _required(path: str, whole: Node) -> Node:
    """Return the keys that a profile which extends nothing must have in its section at `path`."""
    for step in path.split(".") if path else ():
        whole = whole.get("properties", {}).get(step, {})
    return {"required": whole["required"]} if "required" in whole else {}


def _sections(
    path: str, node: Node | Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Yield every section with its dotted path, a section before those inside it."""
    yield path, node
    for name, value in node["properties"].items():
        reference, many = _reference(value)
        if reference:
            inner = f"{path}.{name}".lstrip(".") + ("[]" if many else "")
            yield from _sections(inner, schema["$defs"][reference], schema)


def _reference(value: Node) -> tuple[str, bool]:
    """Return the name of the section that `value` is or has many of, if any."""
    for choice in [value, *value.get("anyOf", [])]:
        if "$ref" in choice:
            return choice["$ref"].rpartition("/")[2], False
        if "$ref" in choice.get("items", {}):
            return choice["items"]["$ref"].rpartition("/")[2], True
    return "", False


def _section(path: str, node: Node, schema: Mapping[str, Any]) -> str:
    title = f"## `{path}`" if path else "## The top"
    said = [node["description"], ""] if path else []
    rows = [
        f"| `{name}` | {_type(value)} | {_default(name, value, node)} | {_cell(_told(value, schema))} |"
        for name, value in node["properties"].items()
    ]
    return "\n".join(
        [title, "", *said, "| key | value | default | meaning |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _told(value: Node, schema: Mapping[str, Any]) -> str:
    reference, _ = _reference(value)
    inside = schema["$defs"][reference]["description"] if reference else ""
    return str(value.get("description", inside))


def _type(value: Node) -> str:
    choices = [choice for choice in value.get("anyOf", [value]) if choice.get("type") != "null"]
    words = list(dict.fromkeys(_one_type(choice) for choice in choices))
    if len(words) == 2 and words[1] == f"list of {words[0]}":  # noqa: PLR2004 - one, or a list of the same
        return f"{words[0]}, or a list"
    return " or ".join(words)


def _one_type(choice: Node) -> str:
    if "enum" in choice:
        return ", ".join(f"`{one}`" for one in choice["enum"])
    if "const" in choice:
        return f"`{json.dumps(choice['const'])}`"
    if "$ref" in choice:
        return "section"
    if "anyOf" in choice:
        return _type(choice)
    return _inside(choice) or f"{_TYPES[choice['type']]}{_range(choice)}"


def _inside(choice: Node) -> str:
    if choice["type"] == "array":
        return f"list of {_plural(_type(choice['items']))}"
    if choice["type"] == "object":
        values = choice.get("patternProperties", {"": choice.get("additionalProperties")})
        return " or ".join(f"map to {_type(value)}" for value in values.values())
    return ""


def _plural(words: str) -> str:
    return "sections" if words == "section" else words


def _range(choice: Node) -> str:
    low, high = choice.get("minimum"), choice.get("maximum")
    if low is not None and high is not None:
        return f" {low} to {high}"
    return "" if low is None else f" from {low}"


def _default(name: str, value: Node, node: Node) -> str:
    if name in node.get("required", []):
        return "**required**"
    default = value.get("default")
    if default in (None, [], {}) or _reference(value)[0]:
        return ""
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
