"""Three emulated Raspberry Pi 3 start from whole cards: minutes, as nothing runs them but an emulator."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from nodebake import lab, pipeline
from nodebake.errors import BuildError
from nodebake.lab import pi
from nodebake.lab.accelerator import Accelerator
from nodebake.lab.hardware import Drive
from nodebake.lab.machine import Machine
from nodebake.lab.network import private_network
from nodebake.progress import Silent
from tests.cards import card, released
from tests.lab.standin.release import release
from tests.need import ROOT, missing, need

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.plan import Plan


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    """Skip without what the lab needs."""
    if not {"CI", "NODEBAKE_LAB"} & set(os.environ):
        pytest.skip("booting clusters takes minutes; set NODEBAKE_LAB=1")
    for tool, package in (
        ("qemu-system-aarch64", "qemu-system-arm"),
        ("fdtget", "device-tree-compiler"),
        ("mcopy", "mtools"),
        ("mke2fs", "e2fsprogs"),
        ("unshare", "util-linux"),
        ("ip", "iproute2"),
        ("curl", "curl"),
    ):
        need(tool, package=package)
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        missing("/dev/net/tun is not for this user")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Return the plan of the profile that we ship."""
    return pipeline.resolve("pi3")


@pytest.fixture(scope="module")
def cards(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a build with a whole card for each node."""
    home = tmp_path_factory.mktemp("pi")
    options = pipeline.Options(
        out=home / "b",
        vault=home / "vault",
        lock=ROOT / "sources.lock",
        cache=ROOT / "cache",
        base=release("aarch64", "rpi"),
    )
    pipeline.image(plan, options=options, progress=Silent(), ask=None)
    return options.out


def options(cards: Path, scenario: str) -> lab.Options:
    """Return what a run is told."""
    return lab.Options(out=cards, lock=ROOT / "sources.lock", cache=ROOT / "cache", scenario=scenario)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "scenario",
    [
        "cold",
        # A Pi has no clock, so this is `cold` once more.
        pytest.param(
            "no-clock",
            marks=pytest.mark.skipif(
                "NODEBAKE_LAB" not in os.environ, reason="takes minutes; NODEBAKE_LAB=1"
            ),
        ),
    ],
)
def test_three_pis_become_a_cluster(plan: Plan, cards: Path, scenario: str) -> None:
    """Firmware rules, eth0, the data partition grown on the card, a clock at 1970: the cluster is healthy."""
    lab.boot(plan, options=options(cards, scenario), progress=Silent())
    told = json.loads((cards / "lab/report.json").read_text(encoding="utf-8"))
    stages = [[event["stage"] for event in node["events"]] for node in told["nodes"]]
    assert "passed" == told["verdict"]
    assert [["power", "firmware"]] * 3 == [events[:2] for events in stages]
    assert [True] * 3 == ["healthy" in events for events in stages]


def test_a_card_that_the_firmware_refuses_is_said(tmp_path: Path) -> None:
    """The error names the machine and the reason, the console has it too, and no emulator was started."""
    bad = card(tmp_path / "card.img", released(), kind="ef")
    with private_network(["10.77.0.11/24"]) as network:
        machine = Machine(
            "refused",
            pi.hardware(Drive(path=bad, role="system")),
            number=1,
            place=(network, Accelerator(name="tcg", arch="aarch64"), tmp_path),
            clock=lambda: 0.0,
        )
        with pytest.raises(BuildError, match=r"refused: .*type 0xef"):
            machine.power_on()
    assert "firmware: " in (tmp_path / "refused.console.log").read_text(encoding="utf-8")
    assert not machine.running
