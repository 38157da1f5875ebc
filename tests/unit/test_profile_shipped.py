"""The profiles that come along, and the schema for editors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from nodebake.plan import resolve
from nodebake.profile.load import PROFILES, load, names, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIPPED = names()


def test_every_promised_profile_is_shipped() -> None:
    """There is one profile per seed system and one for machines of the user's own; bases are not listed."""
    expected = {"flannel", "kubeasz", "manual-k8s", "pi3", "systemd-tls", "vm"}
    assert expected <= set(SHIPPED)
    assert "systemd" not in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profile_is_good(name: str) -> None:
    """A shipped profile has no problems and nothing to warn of."""
    plan, problems = resolve(load(name))
    assert (problems, plan.warnings) == ([], ())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profile_points_editors_to_the_schema(name: str) -> None:
    """Its first line is the modeline that YAML language servers read."""
    first = (PROFILES / f"{name}.yaml").read_text().partition("\n")[0]
    assert first == "# yaml-language-server: $schema=schema.json"


def test_no_two_shipped_profiles_share_a_vault() -> None:
    """The cluster's name is the vault's."""
    clusters = [load(name).profile.cluster.name for name in SHIPPED]
    assert sorted(set(clusters)) == sorted(clusters)


def test_schema_file_is_current() -> None:
    """profiles/schema.json is what `./invoke schema` prints."""
    expected = json.dumps(schema(), indent=2) + "\n"
    message = "write it anew: ./invoke schema > profiles/schema.json"
    assert expected == (PROFILES / "schema.json").read_text(), message


def test_schema_explains_every_key() -> None:
    """Every key of every section has a description, which is what an editor shows."""
    made = schema()
    sections = {"Profile": made, **made["$defs"]}
    silent = [
        f"{section}.{key}"
        for section, value in sections.items()
        for key, field in value["properties"].items()
        if not (field | sections.get(field.get("$ref", "").rpartition("/")[2], {})).get("description")
    ]
    assert silent == []


def test_schema_knows_extends() -> None:
    """A profile that extends another needs no further key; one that does not needs the usual."""
    made = schema()
    assert "extends" in made["properties"]
    usual = {
        "required": ["schema", "cluster", "machine", "nodes", "outputs"],
        "properties": {
            "cluster": {"required": ["name"]},
            "machine": {"required": ["os"]},
            "k3s": {"required": ["version", "servers"]},  # of one that is there
        },
    }
    assert [{"required": ["extends"]}, usual] == made["anyOf"]
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_schema_asks_for_keys_only_in_items_of_lists() -> None:
    """Sections are merged with those of the extended profile and may be incomplete; lists are replaced."""
    demanding = {name: value["required"] for name, value in schema()["$defs"].items() if "required" in value}
    items = {
        "EtcdRole": ["name"],
        "EtcdUser": ["name"],
        "Grant": ["prefix"],
        "Node": ["name", "address"],
        "OpenPort": ["port"],
        "User": ["name"],
        "UserOverlay": ["path"],
    }
    assert items == demanding


def _missing(value: Any, node: dict[str, Any], sections: dict[str, Any]) -> Iterator[str]:  # noqa: ANN401 - YAML
    """Yield every key that `node` does not know, or asks for and `value` does not have."""
    for choice in (node, *node.get("anyOf", ())):
        if "$ref" in choice:
            yield from _missing(value, sections[choice["$ref"].rpartition("/")[2]], sections)
        if isinstance(value, list) and "items" in choice:
            for item in value:
                yield from _missing(item, choice["items"], sections)
    if isinstance(value, dict) and "properties" in node:
        yield from ({*node.get("required", ())} - {*value}) | ({*value} - {*node["properties"]})
        for key in {*value} & {*node["properties"]}:
            yield from _missing(value[key], node["properties"][key], sections)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_satisfies_the_schema_by_itself(name: str) -> None:
    """An editor sees one file only: it has nothing to say about the keys of a shipped one."""
    own = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
    made = schema()
    assert list(_missing(own, made, made["$defs"])) == []
    if "extends" not in own:
        assert set(made["anyOf"][1]["required"]) <= set(own)
