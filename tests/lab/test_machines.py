"""Machines that do not do what they must: seen at once, said with their last lines, and gone."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodebake import pipeline
from nodebake.lab import debian
from nodebake.lab.accelerator import probe
from nodebake.lab.hardware import Hardware
from nodebake.lab.initramfs import cpio
from nodebake.lab.judge import Judge
from nodebake.lab.machine import Machine
from nodebake.lab.network import private_network
from nodebake.lab.rack import ClusterError, Rack
from nodebake.progress import Silent
from nodebake.tree import Tree, file, link, merge
from tests.need import CACHE, missing, need

if TYPE_CHECKING:
    from collections.abc import Iterator


HANGS = file(
    b"#!/bin/sh\n/bin/busybox mkdir /dev\n/bin/busybox mount -t devtmpfs d /dev\nread x </dev/ttyS0\n", 0o755
)


@pytest.fixture(scope="module")
def guest() -> debian.Debian:
    """Return the guest system, for its kernel."""
    for tool, package in (
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("mmdebstrap", "mmdebstrap"),
        ("mke2fs", "e2fsprogs"),
        ("ip", "iproute2"),
    ):
        need(tool, package=package)
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        missing("/dev/net/tun is not for this user")
    return debian.prepare(CACHE, Silent())


@contextmanager
def one_machine(
    guest: debian.Debian, work: Path, initramfs: Tree, kernel: Path | None = None
) -> Iterator[Rack]:
    """Give a rack with one machine that has nothing but a kernel and an initramfs, switched on."""
    (work / "initrd").write_bytes(cpio(initramfs))
    hardware = Hardware(
        kind="q35",
        memory=256 << 20,
        kernel=kernel or guest.kernel,
        initrd=work / "initrd",
        append="console=ttyS0 panic=-1 mitigations=off",
    )
    start = time.monotonic()
    with private_network(["10.77.0.11/24"]) as network:
        machine = Machine(
            "lonely",
            hardware,
            number=1,
            place=(network, probe("x86_64", work=work), work),
            clock=lambda: time.monotonic() - start,
        )
        plan = pipeline.resolve("vm")
        rack = Rack(
            plan=plan,
            machines={"lonely": machine},
            judge=Judge(
                plan=plan,
                network=network,
                etcdctl=work / "none",
                operator=work,
                stranger=work / "none",
            ),
            progress=Silent(),
            clock=lambda: time.monotonic() - start,
            spare=lambda _, __: machine,
            patience=300,
        )
        rack.power_on("lonely")
        try:
            yield rack
        finally:
            rack.cut_power("lonely")


def test_a_guest_that_panics_is_seen(guest: debian.Debian, tmp_path: Path) -> None:
    """The error has the kernel's own words."""
    with (
        one_machine(guest, tmp_path, Tree({"nothing": file(b"")})) as rack,
        pytest.raises(ClusterError) as error,
    ):
        rack.wait("never", lambda: False)
    assert "lonely panicked" in str(error.value)
    assert "Kernel panic - not syncing" in (tmp_path / "lonely.console.log").read_text(encoding="utf-8")


def test_a_guest_that_stops_by_itself_is_seen(guest: debian.Debian, tmp_path: Path) -> None:
    """What QEMU says about a kernel that is none is in the error."""
    broken = tmp_path / "kernel"
    broken.write_bytes(b"not a kernel" * 1000)
    with (
        one_machine(guest, tmp_path, Tree({}), kernel=broken) as rack,
        pytest.raises(ClusterError, match="lonely stopped by itself") as error,
    ):
        rack.wait("never", lambda: False)
    assert "qemu" in str(error.value)


def test_a_guest_that_hangs_is_seen(guest: debian.Debian, tmp_path: Path) -> None:
    """It runs and says nothing: the wait is bounded; and pulling its cable is something it can be told."""
    busybox = file(Path(need("busybox", package="busybox-static")).read_bytes(), 0o755)
    tree = merge(Tree({"bin/busybox": busybox, "bin/sh": link("busybox")}), Tree({"init": HANGS}))
    with one_machine(guest, tmp_path, tree) as rack:
        machine = rack.machines["lonely"]
        rack.wait("the kernel runs", lambda: machine.stage == "kernel")
        machine.pull_cable()
        machine.plug_cable()
        rack.patience = 2
        with pytest.raises(ClusterError, match="not within 2 s"):
            rack.wait("never", lambda: False)
        assert machine.running
