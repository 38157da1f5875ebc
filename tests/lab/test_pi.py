"""Three emulated Raspberry Pi 3 start from whole cards: minutes, as nothing runs them but an emulator."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from nodebake.errors import BuildError
from nodebake.lab import pi
from nodebake.lab.accelerator import Accelerator
from nodebake.lab.hardware import Drive
from nodebake.lab.machine import Machine
from nodebake.lab.network import private_network
from tests.cards import card, released
from tests.lab.clusters import Cluster, assert_whole_images, images, need_lab, when_asked_for
from tests.lab.standin.release import release

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    """Skip without what the lab needs."""
    need_lab(**{"qemu-system-aarch64": "qemu-system-arm", "fdtget": "device-tree-compiler"})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Return the profile that we ship, with a whole card for each node."""
    return images(tmp_path_factory.mktemp("pi"), "pi3", base=release("aarch64", "rpi"))


# A Pi has no clock, so `no-clock` is `cold` once more: one boot shows both.
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("scenario", ["cold", when_asked_for("cold,power-cut")])
def test_three_pis_become_a_cluster(cluster: Cluster, scenario: str) -> None:
    """Firmware rules, eth0, the data partition grown on the card, a start in 1970: the cluster is healthy."""
    cluster.boot(scenario)
    told = cluster.report()
    stages = [[event["stage"] for event in node["events"]] for node in told["nodes"]]
    assert ("passed", []) == cluster.verdict()
    assert_whole_images(cluster)
    assert [["power", "firmware"]] * 3 == [events[:2] for events in stages]
    assert [True] * 3 == ["healthy" in events for events in stages]
    assert [{1970}] * 3 == [years_of_starts(cluster, node.name) for node in cluster.plan.nodes]


@pytest.mark.timeout(3000)
@pytest.mark.skipif("NODEBAKE_LAB" not in os.environ, reason="takes minutes; set NODEBAKE_LAB=1")
def test_data_lies_on_usb(tmp_path: Path) -> None:
    """Three with a disk on USB become a cluster, and the card has no partition for data."""
    own = tmp_path / "usb.yaml"
    own.write_text("schema: 1\nextends: pi3\nmachine: {data: {place: own-disk}}\n", encoding="utf-8")
    made = images(tmp_path, str(own), base=release("aarch64", "rpi"))
    made.boot("cold")
    assert (("passed", []), True) == (made.verdict(), made.booted("image"))
    assert not [check for check in made.report()["checks"] if "data partition" in check["name"]]


def years_of_starts(cluster: Cluster, name: str) -> set[int]:
    """Return in which years a machine's kernel started, as it says itself when it begins to audit."""
    console = (cluster.out / f"lab/{name}.console.log").read_text(encoding="utf-8")
    starts = re.findall(r"audit: type=2000 audit\((\d+)\.", console)
    return {datetime.fromtimestamp(int(seconds), UTC).year for seconds in starts}


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
