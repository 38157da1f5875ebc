"""The private network by itself: real namespaces, and nothing left of them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from nodebake import command
from nodebake.errors import BuildError
from nodebake.lab.accelerator import emulator, probe, probe_machine
from nodebake.lab.network import private_network
from tests.need import ROOT, missing, need
from tests.patience import until

NOBODY = 65534
NAME = str(31_536_000 + os.getpid())  # seconds that nobody else sleeps
SLEEPER = f"""
import sys, time
from pathlib import Path
from nodebake.lab.network import private_network
with private_network(["10.77.0.11/24"], litter=map(Path, sys.argv[1:])) as network:
    network.add_tap("tap1")
    network.start(["sleep", "{NAME}"])
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _allowed() -> None:
    """Skip without the device that joins machines to a network."""
    need("unshare", package="util-linux")
    need("ip", package="iproute2")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        missing("/dev/net/tun is not for this user")


def ordinary() -> list[str]:
    """Return the words in front of a command that run it as a user who may do nothing special.

    That user may read what root's home has, such as this checkout. Skip the test where the kernel, or the
    container around it, does not let that user make namespaces.
    """
    may = [f"--{which}=-all,+dac_read_search" for which in ("inh-caps", "ambient-caps", "bounding-set")]
    who = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    words = [] if os.geteuid() else [need("setpriv", package="util-linux"), *who, *may]
    try:
        command.run([*words, "unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "true"])
    except BuildError as error:
        pytest.skip(f"ordinary users may not make namespaces here: {error}")
    return words


def sleepers() -> list[int]:
    """Return the processes that sleep for the time nobody else does, zombies aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", NAME.encode()]:
            found.append(int(path.parent.name))
    return found


def one_sleeps() -> None:
    """Wait for the one that a test starts."""
    until("one sleeps", lambda: len(sleepers()) == 1)


def none_sleeps() -> None:
    """Wait until nobody does."""
    until("nobody sleeps any more", lambda: not sleepers())


def test_the_operator_has_an_address_and_a_tap_is_on_the_bridge() -> None:
    """What machines need to be neighbours is there, and nothing else but the loopback."""
    with private_network(["10.77.0.11/24"], gateways=["10.77.0.1"]) as network:
        network.add_tap("tap1")
        addresses = network.run(["ip", "-brief", "address"]).decode()
        links = network.run(["ip", "-brief", "link", "show", "master", "lab"]).decode()
        routes = network.run(["ip", "route"]).decode().split()
    names = [line.split()[0] for line in addresses.splitlines()]
    assert (["lo", "lab", "tap1"], True, "tap1", False) == (
        names,
        "10.77.0.1/24" in addresses,
        links.split()[0],
        "default" in routes,
    )


def test_nothing_is_left_at_the_end() -> None:
    """What still runs when the block ends is killed."""
    with private_network(["10.77.0.11/24"]) as network:
        network.start(["sleep", NAME])
        one_sleeps()
    none_sleeps()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_the_lab_is_killed(how: signal.Signals, tmp_path: Path) -> None:
    """Not even SIGKILL, which nobody can handle, leaves a process or a disk behind."""
    disk = tmp_path / "disks of a lab/disk"
    disk.parent.mkdir()
    disk.touch()
    words = [sys.executable, "-c", SLEEPER, str(disk.parent)]
    lab = command.start(words, env={"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)})
    with lab:
        assert lab.stdout is not None
        lab.stdout.readline()
        one_sleeps()
        lab.send_signal(how)
    none_sleeps()
    assert [] == list(tmp_path.iterdir())


def test_an_ordinary_user_gets_a_network_too() -> None:
    """It lies in a user namespace and has taps as root's has, and SIGKILL leaves nothing."""
    lab = command.start([*ordinary(), sys.executable, "-c", SLEEPER], env={"PYTHONPATH": str(ROOT)})
    with lab:
        assert lab.stdout is not None
        said = lab.stdout.readline()
        one_sleeps()
        owners = [Path(f"/proc/{pid}").stat().st_uid for pid in sleepers()]
        lab.kill()
    assert (b"ready\n", [os.geteuid() or NOBODY]) == (said, owners)
    none_sleeps()


def test_killing_what_was_started_kills_the_program_itself() -> None:
    """A power cut ends the emulator at once, not only what entered the namespace with it."""
    with private_network(["10.77.0.11/24"]) as network:
        process = network.start(["sleep", NAME])
        one_sleeps()
        process.kill()
        none_sleeps()


def test_the_probe_decides_within_its_bound(tmp_path: Path) -> None:
    """It names one of the two, and the reason if it is the slow one."""
    need("qemu-system-x86_64", package="qemu-system-x86")
    found = probe("x86_64", work=tmp_path)
    assert (True, found.name == "tcg") == (found.name in {"kvm", "tcg"}, bool(found.why))


def test_the_probes_guest_runs_and_ends(tmp_path: Path) -> None:
    """Under TCG, which works everywhere, the boot sector ends QEMU with the status the probe expects."""
    need("qemu-system-x86_64", package="qemu-system-x86")
    sector = tmp_path / "sector.img"
    sector.write_bytes(bytes.fromhex("b031e6f4f4").ljust(510, b"\0") + b"\x55\xaa")
    words = [emulator("x86_64"), "-accel", "tcg", "-nodefaults", "-display", "none", *probe_machine(sector)]
    assert command.run(words, timeout=60, accept=(99,)) == b""
