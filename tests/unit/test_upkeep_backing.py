"""Restoring, without a cluster: which artefacts may found one from a snapshot, and what each is told."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nodebake import command, pipeline
from nodebake.errors import UsageError
from nodebake.pipeline import workshop
from tests.unit.inputs import options, profile
from tests.unit.test_pipeline import Told

if TYPE_CHECKING:
    from pathlib import Path

SNAPSHOT = b"what etcd keeps" * 100


@pytest.fixture
def restored(tmp_path: Path) -> Path:
    """Return a directory whose vault knows that the cluster comes from the file `snapshot`."""
    plan = pipeline.resolve(profile(tmp_path))
    (tmp_path / "snapshot").write_bytes(SNAPSHOT)
    with workshop.opened(plan, options(tmp_path), None) as vault:
        vault.found_again(hashlib.sha256(SNAPSHOT).hexdigest())
    return tmp_path


def build(directory: Path, snapshot: str = "") -> tuple[str, list[str]]:
    """Build; return what the first member is told about itself, and what the user is told."""
    plan, listener = pipeline.resolve(str(directory / "edge.yaml")), Told()
    told = replace(options(directory), snapshot=directory / snapshot if snapshot else None)
    pipeline.build(plan, options=told, progress=listener, ask=None)
    root = directory / f"root{snapshot}"
    root.mkdir()
    command.run(["tar", "-C", root, "--zstd", "-xf", directory / "out/x-1/x-1.rootfs.tar.zst"])
    return (root / "etc/nodebake/etcd").read_text(), listener.notes


def test_members_found_the_cluster_from_the_snapshot(restored: Path) -> None:
    """It lies on every member, for etcd only, and belongs to the second founding."""
    conf, notes = build(restored, "snapshot")
    assert 'FOUNDER="yes"' in conf
    assert 'GENERATION="1"' in conf
    assert 'SNAPSHOT="/var/lib/nodebake/snapshot.db"' in conf
    baked = restored / "rootsnapshot/var/lib/nodebake/snapshot.db"
    assert baked.read_bytes() == SNAPSHOT
    assert baked.stat().st_mode & 0o777 == 0o600
    assert [note for note in notes if "restored" in note] == []


def test_without_the_snapshot_nobody_may_found_the_cluster(restored: Path) -> None:
    """One without data would be in a cluster with members that have some; the user is told."""
    conf, notes = build(restored)
    assert 'FOUNDER="no"' in conf
    assert 'GENERATION="1"' in conf
    assert 'SNAPSHOT=""' in conf
    assert len([note for note in notes if "the cluster was restored from a snapshot" in note]) == 1


def test_another_snapshot_is_refused(restored: Path) -> None:
    """Members with different data must not found one cluster."""
    (restored / "other").write_bytes(SNAPSHOT[1:])
    with pytest.raises(UsageError, match="not what the cluster was last restored from"):
        build(restored, "other")
    with pytest.raises(UsageError, match="cannot read"):
        build(restored, "missing")


def test_every_restore_has_a_token_of_its_own(restored: Path) -> None:
    """From the same snapshot, too: the cluster that came of it may have been written to since."""
    plan = pipeline.resolve(str(restored / "edge.yaml"))
    tokens = set()
    for _ in range(3):
        with workshop.opened(plan, options(restored), None) as vault:
            tokens.add(vault.token)
            vault.join("x-2")
            vault.found_again(vault.founding.snapshot)
            assert vault.founding.joining == {}
    assert len(tokens) == 3
