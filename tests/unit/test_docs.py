"""The documentation keeps to what is there: commands, flags, links, profiles, the generated reference."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from invoke.collection import Collection
from invoke.loader import FilesystemLoader

from nodebake import command
from nodebake.profile.load import load, names, schema
from nodebake.profile.reference import markdown
from tests.need import ROOT, need

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
README = (ROOT / "README.md").read_text()


def flags() -> dict[str, set[str]]:
    """Return each task's flags, as invoke takes them."""
    module, _ = FilesystemLoader(start=str(ROOT)).load("tasks")
    contexts = Collection.from_module(module).to_contexts()
    names = [(name, one) for one in contexts for name in (str(one.name), *one.aliases)]
    return {name: set(one.flags) for name, one in names}


def shown(text: str) -> list[tuple[str, list[str]]]:
    """Return every `./invoke TASK ...` in `text` with its long flags."""
    calls = re.findall(r"\./invoke ([a-z][a-z.]*)([^`\n#|]*)", text.replace(r"\|", ""))
    return [(task, re.findall(r"--[a-z-]+", rest)) for task, rest in calls]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_is_there(page: Path) -> None:
    """A command in the documentation is a task, and has the flags that are shown with it."""
    known, calls = flags(), shown(page.read_text())
    assert [task for task, _ in calls if task not in known] == []
    assert [(task, flag) for task, used in calls for flag in used if flag not in known[task]] == []


@pytest.mark.parametrize("task", ["build", "image"])
def test_every_flag_is_told(task: str) -> None:
    """README names all of a command's flags in its table of commands."""
    row = next(line for line in README.splitlines() if line.startswith(f"| `./invoke {task}"))
    assert {flag for flag in flags()[task] if flag.startswith("--")} == set(re.findall(r"--[a-z-]+", row))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file of the checkout, and its anchor a heading."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    broken = []
    for target in targets:
        file, _, anchor = target.partition("#")
        if "://" in target:
            continue
        found = (page.parent / file) if file else page
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            broken.append(target)
    assert broken == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_names_every_profile() -> None:
    """The table of profiles has a row for each that ships, and for no other."""
    assert set(names()) == set(re.findall(r"^\| `([a-z0-9-]+)` \|", README, re.MULTILINE))


def test_every_profile_is_linked_to_what_proves_it() -> None:
    """Whatever stands for a hand-made system names tests, and those tests name the profile."""
    for row in re.findall(r"^\| `[a-z0-9-]+` \|.*$", README, re.MULTILINE):
        name, _, replaced, proof = (cell.strip() for cell in row.strip("|").split("|"))
        linked = [ROOT / path for path in re.findall(r"\]\((tests/[^)]+)\)", proof)]
        assert linked, name
        for path in linked if replaced else ():
            about = path.read_text(encoding="utf-8")
            assert f'"{name.strip("`")}"' in about, f"{path} is not about {name}"


def test_reference_is_up_to_date() -> None:
    """docs/profile-reference.md is what the schema says; `./invoke schema --markdown` writes it."""
    assert (ROOT / "docs/profile-reference.md").read_text() == markdown(schema())


def test_the_profile_in_readme_is_one(tmp_path: Path) -> None:
    """The profile a reader is told to write is valid as it stands, but for the key."""
    text = next(re.finditer(r"```yaml\n(.*?)```", README, re.DOTALL)).group(1)
    path = tmp_path / "mine.yaml"
    path.write_text(
        text.replace("AAAA...", "AAAAC3NzaC1lZDI1NTE5AAAAIHdhbnRlZGx5cmFuZG9tYnl0ZXNhbmRub3Rha2V5")
    )
    assert load(str(path)).profile.nodes[0].name == "pi-1"


def test_the_card_in_readme_has_what_a_pi_boots(tmp_path: Path) -> None:
    """README's sfdisk script makes an MBR with FAT32 (0x0c), and leaves the rest to the node."""
    sfdisk = need("sfdisk", package="fdisk")
    script = next(re.finditer(r"<<'EOF'\n(.*?)EOF", README, re.DOTALL)).group(1)
    card = tmp_path / "card"
    with card.open("wb") as file:
        file.truncate(4_000_000_000)
    command.run([sfdisk, "--quiet", card], stdin=script.encode())
    table = json.loads(command.run([sfdisk, "--json", card]))["partitiontable"]
    (first,) = table["partitions"]
    assert (table["label"], first["type"]) == ("dos", "c")
    assert (first["start"], first["size"], first["bootable"]) == (8192, 2 << 20, True)


def test_changelog_has_what_is_not_released() -> None:
    """There is a place for the next change (https://keepachangelog.com)."""
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_decision_has_its_three_parts() -> None:
    """A decision says its context, what was decided and what follows, on one numbered page."""
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    wanted = ["## Context", "## Decision", "## Consequences"]
    assert len({page.name[:4] for page in pages}) == len(pages)
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {int(page.name[:4])}. ")
        assert [line for line in text.splitlines() if line.startswith("## ")] == wanted
        assert len(text.splitlines()) < 60
