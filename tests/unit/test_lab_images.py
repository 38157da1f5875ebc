"""Whole cards as machines, before QEMU starts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nodebake import pipeline
from nodebake.lab import images
from nodebake.lab.accelerator import Accelerator
from nodebake.lab.hardware import Drive, argv
from nodebake.manifest import Artifact, Manifest, UsedInput
from tests.cards import card, released

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [node.name for node in pipeline.resolve("pi3").nodes]


def manifest(*names: str) -> Manifest:
    """Return the manifest of a build that wrote cards for the nodes `names`."""
    nodes = {
        name: (
            Artifact(kind="apkovl", path=f"{name}/{name}.apkovl.tar.gz", size=1, sha256=""),
            *(
                [Artifact(kind="image", path=f"{name}/{name}.img", size=1, sha256="")]
                if name in names
                else []
            ),
        )
        for name in NAMES
    }
    return Manifest(profile="pi3", cluster="edge", epoch=0, inputs=(), nodes=nodes, operator=())


def test_a_node_gets_a_copy_of_its_card(tmp_path: Path) -> None:
    """The build's own image is left as it is, and the report says which Alpine it has."""
    path = tmp_path / NAMES[0] / f"{NAMES[0]}.img"
    path.parent.mkdir()
    card(path, {**released(), ".alpine-release": b"3.20.3\n"})
    before = path.read_bytes()
    found = images.of(manifest(*NAMES), tmp_path)
    assert found is not None
    plan = pipeline.resolve("pi3")
    machine = found.hardware(plan, plan.nodes[0], artefacts=tmp_path, work=tmp_path, label="twin")
    drive = Drive(path=tmp_path / "twin.img", role="system", holds_data=True)
    assert ("Alpine 3.20.3, whole images", (drive,)) == (found.version, machine.drives)
    assert before == path.read_bytes()
    with drive.path.open("rb") as copied:
        assert before == copied.read(len(before))


def test_a_build_without_a_card_for_every_node_has_none(tmp_path: Path) -> None:
    """Half a cluster of cards is made from a release instead."""
    assert [None, None] == [images.of(manifest(*names), tmp_path) for names in ([], NAMES[:2])]


def test_a_virtual_machine_finds_its_kernel_by_its_bios(tmp_path: Path) -> None:
    """QEMU is told no kernel, and the disk is larger than the image: something to grow into."""
    plan = pipeline.resolve("vm-alpine")
    node = plan.nodes[0]
    path = card(tmp_path / "image", {**released(), ".alpine-release": b"3.20.3\n"})
    found = images.Images(paths={node.name: "image"}, version="")
    machine = found.hardware(plan, node, artefacts=tmp_path, work=tmp_path)
    words = argv(
        machine,
        accelerator=Accelerator(name="tcg", arch="x86_64"),
        tap="tap1",
        number=1,
        control=tmp_path / "control",
    )
    assert not {"-kernel", "-append", "-initrd"} & set(words)
    (drive,) = machine.drives
    assert drive.holds_data
    assert drive.path.stat().st_size == path.stat().st_size + (1 << 30)


def test_debians_cards_say_which_debian_they_have(tmp_path: Path) -> None:
    """The manifest knows: there is no file on the boot partition that does."""
    path = tmp_path / NAMES[0] / f"{NAMES[0]}.img"
    path.parent.mkdir()
    card(path, released())
    used = UsedInput(name="debian", version="13.7", arch="aarch64", source="", sha256="")
    found = images.of(replace(manifest(*NAMES), inputs=(used,)), tmp_path)
    assert found is not None
    assert found.version == "Debian 13.7, whole images"
