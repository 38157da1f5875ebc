"""Promises of putting a node's files onto a mounted card."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nodebake import pipeline
from nodebake.command import run
from nodebake.errors import BuildError, SafetyError
from nodebake.flash import Options, Permission, Wanted
from nodebake.flash import run as flash
from tests.need import ROOT, need_root
from tests.unit import release
from tests.unit.test_image import build, on_node, profile
from tests.unit.test_pipeline import contents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nodebake.plan import Plan


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a profile and its build, without images."""
    need_root()
    directory = tmp_path_factory.mktemp("built")
    profile(directory)
    build(directory)
    return directory


@pytest.fixture
def plan(built: Path) -> Plan:
    """Return the build's plan."""
    return pipeline.resolve(str(built / "edge.yaml"))


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Path]:
    """Return where a card with Alpine's release is mounted."""
    place = tmp_path / "card"
    place.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=16M", "tmpfs", place])
    for name, content in release.RPI.items():
        (place / name).parent.mkdir(exist_ok=True, parents=True)
        (place / name).write_bytes(content)
    yield place
    run(["umount", place])


def options(built: Path, **changes: object) -> Options:
    """Return options that ask nobody."""
    return Options(out=built / "out", vault=built / "vault", checkout=ROOT, **changes)  # type: ignore[arg-type]  # as named


def test_card_gets_overlay_and_board_files(built: Path, plan: Plan, card: Path) -> None:
    """With nothing in the way nobody is asked; a second time changes nothing, and nothing else lies there."""
    for _ in range(2):
        flash(plan, Wanted(node="x-1", files=str(card)), options(built))
        assert contents(card) == {**release.RPI, **on_node(built / "out/x-1")}


def test_other_overlays_go_only_when_that_is_confirmed(built: Path, plan: Plan, card: Path) -> None:
    """What Alpine would take for an overlay too is named, and removed by typing the node's name."""
    others = ("old.apkovl.tar.gz", "x-1.apkovl.tar.gz.sha256", "._x-1.apkovl.tar.gz")
    for name in others:
        (card / name).write_bytes(b"older")
    before, shown = contents(card), []
    with pytest.raises(SafetyError, match="nobody is here to confirm that"):
        flash(plan, Wanted(node="x-1", files=str(card)), options(built))

    def refuse(text: str) -> str:
        shown.append(text)
        return ""

    with pytest.raises(SafetyError, match="nothing is not x-1: nothing was written"):
        flash(plan, Wanted(node="x-1", files=str(card)), options(built, ask=refuse))
    assert all(name in shown[0] for name in others)
    assert before == contents(card)
    flash(plan, Wanted(node="x-1", files=str(card)), options(built, ask=lambda _: "x-1"))
    assert contents(card) == {**release.RPI, **on_node(built / "out/x-1")}


def test_another_nodes_overlay_needs_replace(built: Path, plan: Plan, card: Path) -> None:
    """The card of another node is not overwritten by --yes alone."""
    flash(plan, Wanted(node="x-2", files=str(card)), options(built))
    with pytest.raises(SafetyError, match="this is the card of x-2, not of x-1"):
        flash(plan, Wanted(node="x-1", files=str(card)), options(built, yes=True))
    told = options(built, yes=True, allowed=Permission(replace=True))
    flash(plan, Wanted(node="x-1", files=str(card)), told)
    assert contents(card) == {**release.RPI, **on_node(built / "out/x-1")}


def test_full_card_keeps_what_it_had(built: Path, plan: Plan, card: Path) -> None:
    """Without room for the overlay, the old one stays and nothing half-written does."""
    (card / "old.apkovl.tar.gz").write_bytes(b"older")
    room = os.statvfs(card)
    (card / "filler").write_bytes(b"\1" * (room.f_bavail * room.f_frsize - 8192))
    before = contents(card)
    with pytest.raises(BuildError, match="cannot be written to: No space left"):
        flash(plan, Wanted(node="x-1", files=str(card)), options(built, yes=True))
    assert before == contents(card)


def test_place_that_is_no_mounted_card_is_refused(
    built: Path, plan: Plan, card: Path, tmp_path: Path
) -> None:
    """A directory, nothing at all, and a disk without Alpine's release are no cards."""
    for place, told in ((tmp_path, "is not the mount point of a card"), (tmp_path / "x", "is not there")):
        with pytest.raises(SafetyError, match=told):
            flash(plan, Wanted(node="x-1", files=str(place)), options(built))
    (card / "apks/.boot_repository").unlink()
    with pytest.raises(SafetyError, match="has no Alpine release on it"):
        flash(plan, Wanted(node="x-1", files=str(card)), options(built))


def test_file_that_was_changed_is_refused(built: Path, plan: Plan, card: Path, tmp_path: Path) -> None:
    """What is not what the manifest says does not get onto a card."""
    copied = tmp_path / "built"
    run(["cp", "--recursive", built, copied])
    (copied / "out/x-1/boot/usercfg.txt").write_text("gpu_mem=1\n")
    before = contents(card)
    with pytest.raises(SafetyError, match=r"usercfg\.txt is not what the manifest says it is"):
        flash(plan, Wanted(node="x-1", files=str(card)), options(copied))
    assert before == contents(card)
