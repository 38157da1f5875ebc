"""Promises of the service that links what stays on the boot medium, with Alpine's own busybox."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from nodebake.overlay import OVERLAYS
from tests.unit.diskless import Alpine, alpine

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = "nodebake-programs"
PROGRAMS = {
    "usr/local/bin/etcd": b"#!/bin/sh\necho etcd runs\n",
    "usr/local/share/nodebake/images": b"images",
}
LIST = "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in PROGRAMS.items())
RUN = "/usr/local/bin/etcd; readlink /usr/local/bin/etcd; cat /usr/local/share/nodebake/images"


def medium(node: Alpine, name: str, *, listed: str = LIST) -> Path:
    """Fill a boot medium as the initramfs leaves it mounted, and return where."""
    place = node.root / "media" / name / "nodebake"
    for path, content in PROGRAMS.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content)
        (place / path).chmod(0o755)
    (place / "programs").write_text(listed)
    return place


@pytest.fixture
def node(tmp_path: Path) -> Alpine:
    """Return a diskless Alpine with the service and its list."""
    made = alpine(tmp_path)
    script = made.root / "etc/init.d" / SERVICE
    script.parent.mkdir(exist_ok=True)
    script.write_bytes((OVERLAYS / "base/medium-openrc/etc/init.d" / SERVICE).read_bytes())
    (made.root / "etc/nodebake").mkdir()
    (made.root / "etc/nodebake/programs").write_text(LIST)
    return made


def test_programs_run_from_the_medium(node: Alpine) -> None:
    """They are links at their places, also when an older build's lie on a medium that is looked at first."""
    medium(node, "card")
    medium(node, "backup", listed=LIST.replace("images", "others"))
    told = node.start(SERVICE, then=RUN).splitlines()
    assert ["etcd runs", "/media/card/nodebake/usr/local/bin/etcd", "images"] == told[1:]


def test_what_is_in_their_places_gives_way(node: Alpine) -> None:
    """A package's file, as a file of the overlay would replace it, and the link of an earlier start."""
    medium(node, "card")
    packaged, link = (node.root / path for path in PROGRAMS)
    for place in (packaged, link):
        place.parent.mkdir(parents=True, exist_ok=True)
    packaged.write_text("another")
    link.symlink_to("/media/gone/images")
    told = node.start(SERVICE, then=RUN).splitlines()
    assert ["etcd runs", "/media/card/nodebake/usr/local/bin/etcd", "images"] == told[1:]


@pytest.mark.parametrize("there", ["", "programs", "all but one"])
def test_a_medium_without_them_is_said(node: Alpine, there: str) -> None:
    """An overlay that was copied by itself, or beside an older build's programs, says what to do."""
    if there:
        place = medium(node, "card", listed=LIST if there == "all but one" else "0  older\n")
        (place / "usr/local/bin/etcd").unlink()
    said = "usr/local/bin/etcd is missing" if there == "all but one" else "copy what is in the node's boot/"
    told = node.start(SERVICE)
    assert (said in told, f"{SERVICE}: failed" in told) == (True, True)


def test_a_node_with_all_in_its_overlay_has_nothing_to_do(node: Alpine) -> None:
    """Without a list it says nothing."""
    (node.root / "etc/nodebake/programs").unlink()
    assert node.start(SERVICE) == ""
