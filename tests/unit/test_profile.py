"""Bad profiles, and the lines that say what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from nodebake import pipeline
from nodebake.errors import ProfileError
from nodebake.plan import resolve
from nodebake.profile import types
from nodebake.profile.load import load
from tests.need import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GOOD = """\
schema: 1
cluster: {name: edge, domain: edge.example.com}
machine: {os: alpine, board: rpi3, data: {}}
network: {interface: eth0, gateway: 192.168.7.1}
nodes:
  - {name: a, address: 192.168.7.11/24}
  - {name: b, address: 192.168.7.12/24}
  - {name: c, address: 192.168.7.13/24}
etcd: {storage: sdcard}
outputs: [apkovl]
"""


def _bad_profiles() -> Mapping[str, tuple[dict[int, str], list[str]]]:
    """Return the lines to replace and the messages to expect, by title."""
    table: dict[str, tuple[dict[int, str], list[str]]] = {}
    for block in (ROOT / "tests/golden/bad-profiles.txt").read_text().split("\n== ")[1:]:
        title, *lines = block.splitlines()
        changes = {int(line[:2]): line[3:] for line in lines if line[:2].strip().isdigit()}
        table[title] = (changes, [line[3:] for line in lines if line.startswith("-> ")])
    return table


BAD = _bad_profiles()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory to write profiles into, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def messages(name: str, here: Path) -> list[str]:
    """Return what is said about a profile: by the loader, or else by the plan."""
    try:
        _, problems = resolve(load(name, profiles=here))
    except ProfileError as error:
        problems = list(error.problems)
    return [str(problem) for problem in problems]


def good_with(changes: Mapping[int, str]) -> str:
    """Return GOOD with some of its lines replaced."""
    lines = GOOD.splitlines()
    return "\n".join(changes.get(number, line) for number, line in enumerate(lines, start=1))


def test_good_profile_has_no_problems(here: Path) -> None:
    """The profile that all bad ones are made from is good."""
    (here / "edge.yaml").write_text(GOOD)
    assert messages("edge", here) == []


@pytest.mark.parametrize("case", BAD)
def test_bad_profile_is_told_line_by_line(case: str, here: Path) -> None:
    """Every problem has its line, its path, what is wrong and what to do, and nothing else is said."""
    changes, expected = BAD[case]
    (here / "edge.yaml").write_text(good_with(changes))
    with pytest.raises(ProfileError) as refused:
        pipeline.resolve("./edge.yaml")
    assert expected == str(refused.value).splitlines()


def test_base_problem_is_told_in_the_base(here: Path) -> None:
    """A value that comes from an extended file is wrong there."""
    (here / "base.yaml").write_text(good_with({9: "etcd: {nice: 30}"}))
    (here / "edge.yaml").write_text("extends: base\n")
    assert messages("edge", here) == ["base.yaml:9: etcd.nice: 30 is too large; the largest is 19"]


def test_extends_merges_mappings_and_replaces_lists(here: Path) -> None:
    """A key of a mapping wins alone, a list wins as a whole, and each value knows its file."""
    (here / "base.yaml").write_text(GOOD)
    (here / "edge.yaml").write_text(
        "extends: ./base.yaml\netcd: {nice: 3}\nnodes:\n  - {name: z, address: 192.168.7.14/24}\n"
    )
    loaded = load("edge", profiles=here)
    etcd = loaded.profile.etcd
    assert (etcd.nice, etcd.storage) == (3, "sdcard")
    assert [node.name for node in loaded.profile.nodes] == ["z"]
    marks = [loaded.origin(f"etcd.{name}") for name in ("nice", "storage", "version")]
    assert marks == ["edge.yaml:2", "base.yaml:9", "default"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a": "extends: a\n"}, "a.yaml:1: extends: a circle: a.yaml extends a.yaml; remove one of them"),
        (
            {"a": "extends: b\n", "b": "schema: 1\nextends: ./a.yaml\n"},
            "b.yaml:2: extends: a circle: a.yaml extends b.yaml extends a.yaml; remove one of them",
        ),
        ({"a": "extends: [b]\n"}, "a.yaml:1: extends: not a name; write one profile's name or path"),
        ({"a": "extends: b\n"}, "a.yaml:1: extends: there is no profile 'b'; known are a"),
        (
            {"edge": "", "a": "\nextends: egde\n"},
            "a.yaml:2: extends: there is no profile 'egde'; did you mean edge?",
        ),
        ({"a": "extends: ./b\n", "b": ""}, "a.yaml:1: extends: there is no profile './b'; write ./b.yaml"),
        ({}, "there is no profile 'a'; there are no profiles in ."),
        ({"ab": ""}, "there is no profile 'a'; did you mean ab?"),
        (
            {"a": ""},
            "a.yaml: the file is empty; begin with schema: 1; the profiles that come along are examples",
        ),
        ({"a": "extends: b\n", "b": "- 1\n"}, "b.yaml:1: a list is not a profile; begin with schema: 1"),
        ({"a": "- 1\n"}, "a.yaml:1: a list is not a profile; begin with schema: 1"),
    ],
)
def test_wrong_file_is_told(files: Mapping[str, str], expected: str, here: Path) -> None:
    """What is wrong with files, and with what they extend, is told by name."""
    for name, content in files.items():
        (here / f"{name}.yaml").write_text(content)
    assert messages("a", here) == [expected]


def test_extended_file_beside_is_told_as_a_path(here: Path) -> None:
    """A bare name is looked for among the shipped profiles only; a file beside is offered, but not itself."""
    (here / "base.yaml").write_text(GOOD)
    (here / "edge.yaml").write_text("extends: base\n")
    expected = ["edge.yaml:1: extends: there is no profile 'base'; write ./base.yaml"]
    assert expected == messages("./edge.yaml", here / "no")
    (here / "edge.yaml").write_text("extends: edge\n")
    assert "./edge.yaml" not in messages("./edge.yaml", here / "no")[0]


def test_endless_number_is_no_traceback(here: Path) -> None:
    """Python writes no decimal of more than 4300 digits; such a number is still told."""
    (here / "edge.yaml").write_text(good_with({9: f"etcd: {{nice: 0x{'f' * 5000}}}"}))
    [message] = messages("edge", here)
    assert message.startswith("edge.yaml:9: etcd.nice: 0xffff")
    assert message.endswith("... is too large; the largest is 19")


def test_every_pattern_says_what_to_write() -> None:
    """A value that does not match its pattern is answered with what to do about it."""
    known = (get_args(value) for value in vars(types).values())
    patterns = [part for parts in known for part in parts if isinstance(part, types.Like)]
    assert patterns
    assert [like.kind for like in patterns if "; " not in like.kind] == []


def test_missing_path_names_its_neighbours(here: Path) -> None:
    """A path with a slip in it is told the file that lies beside it."""
    (here / "edge.yaml").write_text(GOOD)
    assert messages("./egde.yaml", here / "no") == [
        "there is no profile './egde.yaml'; did you mean edge.yaml?"
    ]


def test_directory_is_not_a_profile(here: Path) -> None:
    """A directory is refused by name."""
    (here / "d.yaml").mkdir()
    assert messages("d.yaml", here)[0].startswith("'d.yaml' is a directory")


@pytest.mark.parametrize("name", ["", "\0", "x" * 300, "~nobody-at-all/x", "a\nb", "../..", "."])
def test_odd_name_is_no_traceback(name: str, here: Path) -> None:
    """Whatever stands behind --profile, the answer is one message."""
    assert len(messages(name, here)) == 1


def test_file_name_that_names_no_directory_is_refused(here: Path) -> None:
    """The artefacts' directory is named after the file."""
    (here / "my cluster.yaml").write_text(GOOD)
    expected = "the file name 'my cluster.yaml' cannot name a directory of artefacts"
    assert messages("./my cluster.yaml", here) == [f"{expected}; use letters, digits, '.', '_' and '-'"]
