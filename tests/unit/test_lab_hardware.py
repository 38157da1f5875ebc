"""QEMU's command line for each kind of machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nodebake.command import run
from nodebake.errors import BuildError
from nodebake.lab import hardware
from nodebake.lab.accelerator import Accelerator
from nodebake.lab.hardware import Drive, Hardware
from tests.need import need

TCG = Accelerator(name="tcg", why="for the test")


def line(machine: Hardware) -> list[str]:
    """Return the machine's command line."""
    return hardware.argv(machine, accelerator=TCG, tap="tap1", number=258, control=Path("/run/c"))


def test_a_pc_has_virtio_disks_in_order() -> None:
    """The first disk is vda; copies are qcow2, the seed is read-only; its clock is set."""
    need("qemu-system-x86_64", package="qemu-system-x86")
    drives = (
        Drive(path=Path("/w/a,b.qcow2"), role="system"),
        Drive(path=Path("/w/s.iso"), role="seed", writable=False),
    )
    machine = Hardware(
        kind="q35",
        memory=1 << 30,
        kernel=Path("/k"),
        initrd=Path("/i"),
        append="console=ttyS0",
        drives=drives,
        clock=hardware.FIRST_DAY,
    )
    assert [
        *(
            "-machine",
            "q35,sata=off,smbus=off",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max,-erms,-fsrm,-avx,-avx2,-la57,-smap,-smep,-svm",
            "-smp",
            "1",
        ),
        *("-m", "1024M", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-serial", "stdio", "-no-reboot", "-qmp", "unix:/run/c,server=on,wait=off"),
        *("-append", "console=ttyS0", "-kernel", "/k", "-initrd", "/i"),
        *("-drive", "if=none,id=disk0,format=qcow2,file=/w/a,,b.qcow2,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=disk0"),
        *("-drive", "if=none,id=disk1,format=raw,file=/w/s.iso,readonly=on"),
        *("-device", "virtio-blk-pci,drive=disk1"),
        *("-netdev", "tap,id=net,ifname=tap1,script=no,downscript=no"),
        *("-device", "virtio-net-pci,romfile=,netdev=net,id=nic,mac=52:54:00:6e:01:02"),
        *("-device", "virtio-rng-pci", "-rtc", "base=1970-01-01T00:00:00"),
    ] == line(machine)[1:]


def test_a_pi_has_a_card_a_device_tree_and_a_network_card_on_usb() -> None:
    """It has no clock to set, no choice of processors, and its console is the second UART."""
    need("qemu-system-aarch64", package="qemu-system-arm")
    machine = Hardware(
        kind="raspi3b",
        memory=1 << 30,
        kernel=Path("/k"),
        append="x",
        dtb=Path("/d"),
        drives=(Drive(path=Path("/card.img"), role="system"),),
    )
    assert [
        *("-machine", "raspi3b", "-accel", "tcg,thread=multi"),
        *("-m", "1024M", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-serial", "null", "-serial", "stdio", "-no-reboot", "-qmp", "unix:/run/c,server=on,wait=off"),
        *("-append", "x", "-kernel", "/k", "-dtb", "/d"),
        *("-drive", "if=sd,id=disk0,format=raw,file=/card.img,cache=unsafe"),
        *("-netdev", "tap,id=net,ifname=tap1,script=no,downscript=no"),
        *("-device", "usb-net,netdev=net,id=nic,mac=b8:27:eb:6e:01:02"),
    ] == line(machine)[1:]


def test_the_last_partition_is_the_one_for_data(tmp_path: Path) -> None:
    """It goes with its room, so that a node cannot make a new one; what is before it stays."""
    disk, before = tmp_path / "disk.img", "start=2048, size=2048, type=c\nstart=4096, size=6144, type=83\n"
    disk.write_bytes(b"")
    os.truncate(disk, 32 << 20)
    sfdisk = [need("sfdisk", package="fdisk"), "--quiet"]
    run([*sfdisk, disk], stdin=f"{before}start=12288, type=83\n".encode())
    drive = Drive(path=disk, role="system", holds_data=True)
    assert Drive(path=disk, role="system") == hardware.without_data(drive)
    told = json.loads(run([*sfdisk, "--json", disk]))["partitiontable"]["partitions"]
    assert [(2048, 2048), (4096, 6144)] == [(one["start"], one["size"]) for one in told]
    assert (4096 + 6144) * 512 == disk.stat().st_size
    hardware.without_data(drive)
    with pytest.raises(BuildError, match="no partition for data"):
        hardware.without_data(drive)


@pytest.mark.parametrize(("number", "expected"), [(1, "52:54:00:6e:00:01"), (300, "52:54:00:6e:01:2c")])
def test_every_machine_has_its_own_mac_address(number: int, expected: str) -> None:
    """It is the same in every run."""
    assert expected == hardware.mac(number, kind="q35")


def test_a_pi_s_mac_address_is_a_maker_s() -> None:
    """Linux calls a USB network card with a locally administered address usb0, and this one eth0."""
    first = int(hardware.mac(1, kind="raspi3b").split(":")[0], 16)
    assert 0 == first & 0b11
