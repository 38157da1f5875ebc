"""A vault as one encrypted file, there and back; and another pass phrase for the authority's key."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.errors import SafetyError, UsageError
from nodebake.pki import LeafRequest
from nodebake.vault import bring_back, change_passphrase, export
from tests.need import ROOT, need
from tests.unit.inputs import profile
from tests.unit.test_vault import opened

if TYPE_CHECKING:
    from pathlib import Path

LEAF = LeafRequest(holder="x-1", name="client", common_name="x-1", usages=("client",))
PHRASE = "correct horse"


def filled(directory: Path, **environ: str) -> bytes:
    """Make or open a vault with an encrypted authority; return a leaf that it hands out."""
    section = {"passphrase": {"env": "PHRASE"}}
    with opened(directory, environ={"PHRASE": "first", **environ}, authority=section) as vault:
        return vault.leaves([LEAF])["x-1", "client"].certificate


def snapshot(directory: Path) -> dict[str, bytes]:
    """Return every file but the lock."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "lock"}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Return the file of an exported vault, which is still there as well."""
    filled(tmp_path / "v")
    export(tmp_path / "v", tmp_path / "edge.age", cluster="edge", passphrase=PHRASE)
    return tmp_path / "edge.age"


def test_a_vault_comes_back_as_it_was(sealed: Path, tmp_path: Path) -> None:
    """Every file is the same and private, and it hands out the same leaf."""
    bring_back(tmp_path / "back", sealed, cluster="edge", passphrase=PHRASE)
    assert snapshot(tmp_path / "back") == snapshot(tmp_path / "v")
    assert filled(tmp_path / "back") == filled(tmp_path / "v")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "back").iterdir()} == {0o600}
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600


def test_nothing_of_it_can_be_read_without_the_pass_phrase(sealed: Path) -> None:
    """The file begins as the age format says, and shows no name and no key."""
    content = sealed.read_bytes()
    assert content.startswith(b"age-encryption.org/v1\n-> scrypt ")
    assert not any(word in content for word in (b"PRIVATE KEY", b"ca.key", b"edge"))


def test_age_itself_opens_it(sealed: Path, tmp_path: Path) -> None:
    """Without this program: the reference implementation and tar, as the message says."""
    age = need("age", package="age")
    # age asks the terminal and nothing else; a pseudo-terminal has one.
    script = f"{age} --decrypt --output {tmp_path}/plain.tar {sealed}"
    typed = [need("script", package="bsdutils"), "--quiet", "--command", script, "/dev/null"]
    run(typed, stdin=f"{PHRASE}\n".encode())
    (tmp_path / "by-hand").mkdir()
    run(["tar", "-C", tmp_path / "by-hand", "-xf", tmp_path / "plain.tar"])
    assert snapshot(tmp_path / "by-hand") == snapshot(tmp_path / "v")


def test_a_vault_is_never_overwritten(sealed: Path, tmp_path: Path) -> None:
    """Neither the vault by an import, nor a file by an export."""
    before = snapshot(tmp_path / "v")
    with pytest.raises(SafetyError, match=r"there is a vault in .* already"):
        bring_back(tmp_path / "v", sealed, cluster="edge", passphrase=PHRASE)
    assert snapshot(tmp_path / "v") == before
    with pytest.raises(SafetyError, match="is there already"):
        export(tmp_path / "v", sealed, cluster="edge", passphrase=PHRASE)


@pytest.mark.parametrize(
    ("change", "cluster", "phrase", "expected"),
    [
        (lambda old: old, "edge", "wrong", "the pass phrase is wrong"),
        (lambda old: old, "other", PHRASE, "belongs to the cluster edge, not to other"),
        (lambda old: old[:-20], "edge", PHRASE, "cannot be opened"),
        (lambda _: b"something else", "edge", PHRASE, "cannot be opened"),
        (lambda old: re.sub(rb" \d+\n", b" 40\n", old, count=1), "edge", PHRASE, "open it where it was made"),
    ],
)
def test_what_cannot_be_imported_leaves_nothing(
    change: object, cluster: str, phrase: str, expected: str, sealed: Path, tmp_path: Path
) -> None:
    """Wrong pass phrase, other cluster, cut short, no such file, too much work: refused, no directory."""
    assert callable(change)
    sealed.write_bytes(change(sealed.read_bytes()))
    with pytest.raises(UsageError, match=expected):
        bring_back(tmp_path / "back", sealed, cluster=cluster, passphrase=phrase)
    assert {path.name for path in tmp_path.iterdir()} == {"v", "edge.age"}


def test_the_authority_gets_another_pass_phrase(tmp_path: Path) -> None:
    """The new one opens it, the old one does not; leaves stay as they are."""
    leaf = filled(tmp_path / "v")
    change_passphrase(tmp_path / "v", cluster="edge", old=b"first", new=b"second")
    with pytest.raises(UsageError, match="wrong pass phrase"):
        filled(tmp_path / "v")
    assert filled(tmp_path / "v", PHRASE="second") == leaf
    # Killed after its last write and run again, it finds that there is nothing left to do.
    change_passphrase(tmp_path / "v", cluster="edge", old=b"first", new=b"second")


def test_a_wrong_pass_phrase_changes_nothing(tmp_path: Path) -> None:
    """Every key is opened before one is written."""
    filled(tmp_path / "v")
    before = snapshot(tmp_path / "v")
    with pytest.raises(UsageError, match="wrong pass phrase"):
        change_passphrase(tmp_path / "v", cluster="edge", old=b"wrong", new=b"second")
    assert snapshot(tmp_path / "v") == before


def test_the_commands_work_as_they_are_typed(tmp_path: Path) -> None:
    """Export, import and a new pass phrase through ./invoke, with pass phrases from files and variables."""
    path = profile(tmp_path)
    text = "pki: {authority: {passphrase: {env: PHRASE}}}\n"
    (tmp_path / "edge.yaml").write_text((tmp_path / "edge.yaml").read_text() + text)
    filled(tmp_path / "v")
    (tmp_path / "phrase").write_text(f"{PHRASE}\n")
    environ = {**os.environ, "PHRASE": "first", "NEW": "second"}

    def invoke(task: str, *words: str | Path) -> None:
        argv = [sys.executable, "-m", "nodebake", task, "--profile", path, *map(str, words)]
        subprocess.run(argv, env=environ, cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - ours

    invoke("vault.passphrase", "--vault", tmp_path / "v", "--phrase-env", "NEW")
    file = ("--file", tmp_path / "edge.age", "--phrase-file", tmp_path / "phrase")
    invoke("vault.export", "--vault", tmp_path / "v", *file)
    invoke("vault.import", "--vault", tmp_path / "back", *file)
    assert filled(tmp_path / "back", PHRASE="second") == filled(tmp_path / "v", PHRASE="second")
