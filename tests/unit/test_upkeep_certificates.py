"""The ledger as the user sees it: what is in use, how long still, and whether the artefacts have it."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest

from nodebake import console, pipeline, upkeep
from nodebake.errors import BuildError, UsageError
from nodebake.pipeline.bakery import requests
from nodebake.pki import Facts
from nodebake.vault import Card, Look, record
from tests.unit.inputs import options
from tests.unit.test_vault import opened

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400


def told(directory: Path, **changes: object) -> tuple[tuple[upkeep.Standing, ...], tuple[str, ...]]:
    """Return what `certs` finds."""
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    return upkeep.certificates(plan, options(directory, **changes), live=False)


def renew(directory: Path, node: str) -> None:
    """Have one node's certificates renewed, as `certs.renew` does, without writing an artefact."""
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    due = [one for one in requests(plan) if one.holder == node]
    with opened(directory / "vault") as vault:
        vault.renew(due, within=10**9, new_keys=False)


def test_every_certificate_in_use_is_told_the_worst_first(first: Path) -> None:
    """Three per member, one per client, the operator's, the authority's; in order of the days left."""
    rows, complaints = told(first)
    assert {row.holder for row in rows} == {"x-1", "x-2", "x-3", "y-1", "operator", "authority"}
    assert len(rows) == 3 * 3 + 1 + 1 + 1
    assert [row.days for row in rows] == sorted(row.days for row in rows)
    assert complaints == ()
    assert {row.complaints for row in rows} == {()}
    artefacts = {row.artifact for row in rows if row.holder == "x-1"}
    assert len(artefacts) == 1
    assert artefacts.pop().startswith("x-1/")


def test_the_days_left_are_counted_from_source_date_epoch(first: Path) -> None:
    """A clock that is given takes the place of the present, so that two runs say the same."""
    plain, later = told(first)[0], told(first, epoch=4_000_000_000)[0]
    assert min(row.days for row in plain) > 1800
    assert max(row.days for row in later) < 0


def test_days_are_whole_and_end_below_zero() -> None:
    """A certificate with some hours left has 0 days, one that has just ended has -1."""
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    look = Look(now=now, rows=(), authorities=dict[str, Facts](), rotation=None)  # type: ignore[arg-type]
    assert look.days(now + dt.timedelta(hours=1)) == 0
    assert look.days(now - dt.timedelta(seconds=1)) == -1


def test_an_artefact_that_has_an_older_certificate_is_told(built: Path) -> None:
    """After a renewal the artefacts of that node are stale, and only those."""
    renew(built, "x-2")
    rows, _ = told(built)
    stale = {(row.holder, row.name) for row in rows if row.complaints}
    assert {("x-2", "server"), ("x-2", "peer"), ("x-2", "client")} == stale


def test_a_card_that_was_written_is_told(built: Path) -> None:
    """The node's last good card since its certificates were issued; a failed one and others' do not count."""
    for node, failed in (("x-1", ""), ("x-2", "read back differently")):
        card = Card(serial=f"0x{node}", own=True, model="SD32G", size=1, node=node, image="", failed=failed)
        record(built / "vault", card)
    rows, _ = told(built)
    assert {(row.holder, row.card) for row in rows if row.holder.startswith("x-")} == {
        ("x-1", "SD32G 0xx-1"),
        ("x-2", ""),
        ("x-3", ""),
    }


def test_too_few_days_fail_the_check_and_name_each(first: Path) -> None:
    """What ends within the time given is named with its days; what does not is not."""
    rows, complaints = told(first)
    upkeep.check(rows, complaints, under=30 * DAY)
    with pytest.raises(BuildError) as failed:
        upkeep.check(rows, complaints, under=6 * 365 * DAY)
    assert "x-1's peer: 1824 days left" in str(failed.value)
    assert "authority" not in str(failed.value)


def test_a_stale_artefact_fails_the_check(built: Path) -> None:
    """In CI, a certificate that is not where the ledger says is as bad as one that ends."""
    renew(built, "x-1")
    with pytest.raises(BuildError, match="x-1's peer: the artefact has an older one"):
        upkeep.check(*told(built), under=DAY)


def test_there_must_be_a_vault(built: Path) -> None:
    """Looking makes nothing: no vault, no directory."""
    with pytest.raises(UsageError, match="there is no vault"):
        told(built, vault=built / "elsewhere")
    assert not (built / "elsewhere").exists()


def test_the_table_and_the_json_say_the_same(first: Path) -> None:
    """A line per certificate for people, a row for programs."""
    rows, complaints = told(first)
    document = json.loads(console.certificates_as_json(rows, complaints))
    lines = console.certificates_as_text(rows, complaints).splitlines()
    assert len(document["certificates"]) == len(lines) - 2 == len(rows)
    assert document["certificates"][0]["serial"][:12] in lines[2]
