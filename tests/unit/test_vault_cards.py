"""The vault's record of cards: kept whole, private, and no reason to build anew."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from nodebake import stamp
from nodebake.errors import UsageError
from nodebake.vault import Card, cards, record
from tests.need import need_root
from tests.unit.test_vault import opened

if TYPE_CHECKING:
    from pathlib import Path

CARD = Card(serial="0x1234", own=True, model="SC32G", size=32 * 10**9, node="x-1", image="ab" * 32)


def test_cards_are_remembered_in_order(tmp_path: Path) -> None:
    """Each writing is a row with its time, the failed ones too; the vault opens as before."""
    vault = tmp_path / "v"
    with opened(vault):
        pass
    bad = Card(**{name: getattr(CARD, name) for name in CARD.__slots__} | {"failed": "it broke"})
    assert all(record(vault, card) for card in (CARD, bad))
    rows = cards(vault)
    assert [(row.serial, row.failed) for row in rows] == [("0x1234", ""), ("0x1234", "it broke")]
    assert rows[0].written > 1_700_000_000
    assert stat.S_IMODE((vault / "cards.json").stat().st_mode) == 0o600
    with opened(vault) as again:
        assert again.minted is False


def test_there_has_to_be_a_vault(tmp_path: Path) -> None:
    """Where none is, none is begun: the next build would mint an authority in it."""
    assert record(tmp_path / "v", CARD) is False
    assert cards(tmp_path / "v") == ()
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("content", ["{}", '{"schema": 1, "cards": [{"serial": 1}]}', "no JSON"])
def test_damaged_record_is_told(tmp_path: Path, content: str) -> None:
    """A file that nobody of ours wrote is not written over."""
    vault = tmp_path / "v"
    with opened(vault):
        pass
    (vault / "cards.json").write_text(content)
    (vault / "cards.json").chmod(0o600)
    with pytest.raises(UsageError, match=r"cards\.json is damaged"):
        record(vault, CARD)
    assert content == (vault / "cards.json").read_text()


def test_a_card_is_no_reason_to_build_anew(tmp_path: Path) -> None:
    """What no artefact depends on does not end a build's stamp."""
    vault, out = tmp_path / "v", tmp_path / "out"
    with opened(vault):
        pass
    out.mkdir()
    empty = {"schema": 1, "profile": "", "cluster": "", "epoch": 0, "inputs": [], "nodes": {}, "operator": []}
    (out / "manifest.json").write_text(json.dumps(empty))
    (tmp_path / "stamp").write_text(stamp.make(out, [vault], until=10))
    record(vault, CARD)
    assert stamp.unchanged(tmp_path / "stamp", now=0)


def test_what_root_records_belongs_to_the_vaults_owner(tmp_path: Path) -> None:
    """Writing cards needs root; the next build, as somebody else, must be able to read the vault."""
    need_root()
    vault = tmp_path / "v"
    with opened(vault):
        pass
    for path in (vault, *vault.iterdir()):
        os.chown(path, 1234, 1234)
    record(vault, CARD)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in vault.iterdir()} == {(1234, 1234)}
