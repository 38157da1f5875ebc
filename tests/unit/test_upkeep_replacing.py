"""A dead member's successor, without a cluster to ask: what is revoked, what is baked, what is said."""

from __future__ import annotations

import dataclasses as dc
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodebake import command, console, pipeline, upkeep
from nodebake.errors import ProfileError, SafetyError, UsageError
from nodebake.progress import Silent
from tests.unit.inputs import options, profile
from tests.unit.test_upkeep_renewal import files
from tests.unit.test_upkeep_revoking import CRL, listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from nodebake.plan import Plan


def replace(directory: Path, node: str = "x-2", *, again: bool = False) -> upkeep.Replaced:
    """Do what `replace` does without --live."""
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    wanted = upkeep.Replacement(node=node, again=again)
    return upkeep.exchange(plan, options(directory), wanted, progress=Silent(), ask=None)


def unpacked(directory: Path, node: str) -> Path:
    """Return a node's files, from its archive."""
    root = directory / f"root-{node}"
    root.mkdir()
    command.run(["tar", "-C", root, "--zstd", "-xf", directory / f"out/{node}/{node}.rootfs.tar.zst"])
    return root


def serials(directory: Path) -> set[str]:
    """Return the serials of what the ledger has as revoked."""
    rows = json.loads((directory / "vault/ledger.json").read_text())["certificates"]
    return {row["serial"] for row in rows if row["revoked"]}


def test_the_old_certificates_are_revoked_and_the_others_told(built: Path) -> None:
    """All of the dead node's are on the list, which the other members get."""
    done = replace(built)
    assert len(serials(built)) == 3
    assert set(done.archives) == {"x-1", "x-3"}
    assert listed(files(built / "out" / done.archives["x-1"].path)[CRL]) == serials(built)


def test_the_successor_may_not_found_a_cluster(built: Path) -> None:
    """Its artefact joins only; the others' may found, as before; all have new artefacts."""
    replace(built)
    conf = "etc/nodebake/etcd"
    assert 'FOUNDER="no"' in (unpacked(built, "x-2") / conf).read_text()
    assert 'FOUNDER="yes"' in (unpacked(built, "x-1") / conf).read_text()
    assert listed((built / "root-x-2" / CRL).read_bytes()) == serials(built)


def test_doing_it_twice_revokes_once(built: Path) -> None:
    """The same command again goes on; only --again begins anew."""
    assert replace(built).begun
    before = serials(built)
    done = replace(built)
    assert not done.begun
    assert serials(built) == before
    assert replace(built, again=True).begun
    assert len(serials(built)) == 6


def test_the_commands_for_the_cluster_are_said(built: Path) -> None:
    """Member remove, member add with the address that the others know, and how to get there."""
    plan = pipeline.resolve(str(built / "edge.yaml"))
    said = console.replaced_as_text(plan, built / "out", replace(built))
    assert "etcdctl member remove ID" in said
    assert "etcdctl member add x-2 --peer-urls=https://192.168.7.12:2380" in said
    assert "its certificates are revoked, new ones issued" in said


@pytest.mark.parametrize(("node", "expected"), [("", "no node is no member"), ("y-1", "y-1 is no member")])
def test_only_members_are_replaced(built: Path, node: str, expected: str) -> None:
    """A client holds no data: it only needs another artefact."""
    with pytest.raises(UsageError, match=expected):
        replace(built, node)


def test_the_only_member_cannot_be_replaced(tmp_path: Path) -> None:
    """There is no cluster that a successor could join."""
    path = Path(profile(tmp_path))
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "x-2" not in line and "x-3" not in line) + "\n")
    with pytest.raises(SafetyError, match="x-1 is the only member"):
        replace(tmp_path, "x-1")


VERBS: dict[str, Callable[[Plan, pipeline.Options], object]] = {
    "renew": lambda plan, told: upkeep.renew(
        plan, told, upkeep.Renewal(within=10**9, new_keys=True), progress=Silent(), ask=None
    ),
    "rotate": lambda plan, told: upkeep.rotate(plan, told, upkeep.Wanted(), progress=Silent(), ask=None),
    "revoke": lambda plan, told: upkeep.revoke(
        plan, told, upkeep.Revocation(node="x-2"), progress=Silent(), ask=None
    ),
    "replace": lambda plan, told: upkeep.exchange(
        plan, told, upkeep.Replacement(node="x-2"), progress=Silent(), ask=None
    ),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_pass_phrase_changes_nothing(verb: str, tmp_path: Path) -> None:
    """Whatever is asked for: the vault and the artefacts stay as they were."""
    path = Path(profile(tmp_path))
    path.write_text(path.read_text() + "pki: {authority: {passphrase: {env: PHRASE}}}\n")
    plan, right = pipeline.resolve(str(path)), dc.replace(options(tmp_path), environ={"PHRASE": "right"})
    pipeline.build(plan, options=right, progress=Silent(), ask=None)
    before = contents(tmp_path)
    with pytest.raises(ProfileError, match="wrong pass phrase"):
        VERBS[verb](plan, dc.replace(right, environ={"PHRASE": "wrong"}))
    assert contents(tmp_path) == before


def contents(directory: Path) -> dict[str, bytes]:
    """Return the files of vault and build; the lock only says who used it last."""
    places = [path for name in ("vault", "out") for path in (directory / name).rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in places if path.name != "lock"}
