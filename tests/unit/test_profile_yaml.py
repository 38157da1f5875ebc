"""YAML that is broken, hostile or merely odd."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodebake import pipeline
from nodebake.errors import ProfileError
from nodebake.profile import positions
from nodebake.profile.load import schema

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2000))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: 1\n\tb: 2\n", "f:2: a tab in the indentation; indent with spaces"),
        (b"a:\n\t- b\n", "f:2: a tab in the indentation; indent with spaces"),
        (b"a: 1\nb: 2\na: 3\n", "f:3: a: this key is already on line 1; keep one of them"),
        (
            b"n:\n  - {name: x}\n  - {name: y, p: 1, p: 2}\n",
            "f:3: n[1].p: this key is already on line 3; keep one of them",
        ),
        (
            b"a: b: c\n",
            "f:1: not valid YAML: a colon where none may stand; check the indentation, or quote a value",
        ),
        (b"a: [1, 2\n", "f:2: not valid YAML: "),
        (b'a: "x\n', "f:2: not valid YAML: the file ends inside quotes; close them"),
        (b"a: 1\nword\nb: 2\n", "f:3: not valid YAML: a key without a colon; write key: value"),
        (b"a: *b\n", "f:1: not valid YAML: an alias of nothing; quote a value that begins with *"),
        (
            b"a: @b\n",
            "f:1: not valid YAML: a value begins with a character that YAML keeps for itself; ",
        ),
        (b"a: 1\n---\nb: 2\n", "f:2: a second YAML document; put each profile into a file of its own"),
        (b"1: a\n", "f:1: the key '1' is not a string to YAML; put it in quotes"),
        (b"yes: a\n", "f:1: the key 'yes' is not a string to YAML; put it in quotes"),
        (b"? [a]\n: b\n", "f:1: a list or a mapping as a key; use a word"),
        (
            b"b: &b {x: 1}\na:\n  <<: *b\n",
            "f:3: a: << is not known here; use extends: at the top of the file",
        ),
        (b"a: !!python/object:os.system x\n", "f:1: a: the tag '!!python/object:os.system'; remove it; "),
        (b"a: !!binary aGk=\n", "f:1: a: the tag '!!binary'; remove it; "),
        (b"a: !!set {x}\n", "f:1: a: the tag '!!set'; remove it; "),
        (b"a: 0b_\n", "f:1: a: '0b_' is no int; put it in quotes"),
        (b"a: !!int x\n", "f:1: a: 'x' is no int; put it in quotes"),
        (b"a: !!bool x\n", "f:1: a: 'x' is no bool; put it in quotes"),
        (b'a: "\\ud800"\n', "f:1: a: half a character; remove the escape"),
        (b'a: "\\UFFFFFFFF"\n', "f:1: an escape that is not a character; remove it"),
        (b"a: 1\nb: \xff\n", "f:2: not UTF-8 text; save the file as UTF-8"),
        (b"a: 1\nb: \x07\n", "f:2: the character '\\x07'; remove it"),
        (b"", "f: the file is empty; "),
        (b"# only a comment\n", "f: the file is empty; "),
        (b"a: &a [*a]\n", "f:1: a[0]: an alias of what it stands in; write the value out"),
        (b"[" * 100, "f:1: more than 40 levels in each other; a profile needs no more than five levels"),
        (BOMB.encode(), "f:"),
        (CHAIN.encode(), "f:"),
        (
            b"a: " + b"9" * 5000,
            "f:1: a: '9999999999999999999999999999999999999999' is no int; put it in quotes",
        ),
    ],
)
def test_yaml_that_no_profile_needs_is_refused_with_its_line(content: bytes, expected: str) -> None:
    """Broken YAML and the corners of YAML end in one message with a line."""
    with pytest.raises(ProfileError) as caught:
        positions.read(content, "f")
    assert expected == str(caught.value)[: len(expected)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-01", "2026-01-01"),
        ("=", "="),
        ("y", "y"),
        ("0o17", "0o17"),
        ("3.5.16", "3.5.16"),
        ("017", 15),
        ("1_000", 1000),
        ("on", True),
        ("~", None),
    ],
)
def test_scalar_is_what_yaml_says_it_is(text: str, value: object) -> None:
    """YAML 1.1 decides, except that dates stay the strings they were written as."""
    assert positions.read(f"a: {text}".encode(), "f").plain() == {"a": value}


def test_byte_order_mark_is_no_problem() -> None:
    """A file from an editor that writes a byte order mark can be read."""
    assert positions.read(b"\xef\xbb\xbfa: 1\n", "f").plain() == {"a": 1}


def test_every_value_knows_its_line() -> None:
    """A value of a mapping stands on its key's line, an item of a list on its own."""
    written = positions.read(b"a:\n  b:\n    - 1\n    - c: 2\n'd e':\n  3\n", "f")
    expected = {"": "f:1", "a": "f:1", "a.b": "f:2", "a.b[0]": "f:3", "a.b[1]": "f:4", "a.b[1].c": "f:4"}
    assert {path: value.where for path, value in written.walk()} == expected | {"'d e'": "f:5"}


SECTIONS = (schema(), *schema()["$defs"].values())
KEYS = st.sampled_from(sorted({key for section in SECTIONS for key in section["properties"]}))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.dates()
    | st.binary(max_size=5)
    | st.sampled_from(
        ["192.168.7.11/24", "fd00::1/64", "https:/x", "alpine", "debian", "rpi3", "vm", "a", "8GiB"]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | SCALARS, inner, max_size=4),
    max_leaves=20,
)
PROFILES = st.fixed_dictionaries(
    {
        "schema": st.just(1) | SCALARS,
        "cluster": st.just({"name": "a"}) | VALUES,
        "machine": st.sampled_from([{"os": "alpine"}, {"os": "debian", "board": "rpi4"}]) | VALUES,
        "nodes": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from("abc"), "address": st.ip_addresses().map(lambda ip: f"{ip}/24")}
            ),
            min_size=1,
            max_size=4,
        )
        | VALUES,
        "outputs": st.just(["rootfs"]) | VALUES,
    },
    optional=dict.fromkeys(("network", "etcd", "pki", "access", "system", "overlays"), VALUES),
)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def survives(content: bytes) -> None:
    """Plan what is given as a profile; only ProfileError, which can be printed, may come of it."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "edge.yaml"
        file.write_bytes(content)
        try:
            json.dumps(pipeline.resolve(str(file)).to_json())
        except ProfileError as error:
            str(error).encode()


@FEW
@given(st.binary(max_size=200))
def test_no_bytes_end_in_a_traceback(content: bytes) -> None:
    """Arbitrary bytes are told from a profile."""
    survives(content)


@FEW
@given(
    st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("-:[]{}&*!|>'\"%@ \n\t"), max_size=200)
)
def test_no_text_ends_in_a_traceback(text: str) -> None:
    """Arbitrary text, rich in YAML's own characters, is told from a profile."""
    survives(text.encode())


@FEW
@given(VALUES | PROFILES)
def test_no_structure_ends_in_a_traceback(value: object) -> None:
    """Arbitrary values at the places where a profile has its own are told from a profile."""
    survives(yaml.safe_dump(value, allow_unicode=True).encode(errors="surrogatepass"))
