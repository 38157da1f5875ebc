"""A block device as this machine sees it: what it is, who uses it, and what is on it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodebake.command import find, run
from nodebake.errors import BuildError, SafetyError
from nodebake.formats.card.layout import SECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_COLUMNS = "NAME,KNAME,PATH,TYPE,SIZE,RM,RO,TRAN,MODEL,SERIAL,MOUNTPOINTS"
_NOTHING = 2  # exit status of blkid(8) where it finds nothing
_OVERLAY = re.compile(r"^::/(.+)\.apkovl\.tar\.gz$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file system on a device.

    Attributes:
        start: bytes from the beginning of the device.
        size: bytes.
        kind: as blkid calls it, or empty.
        overlays: names of the nodes whose Alpine overlays lie in it.
    """

    start: int
    size: int
    kind: str
    label: str
    uuid: str
    overlays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device, before anything is asked of it.

    Attributes:
        path: under /dev.
        name: the last part of that.
        kernel_name: the kernel's, which is another one for what the device mapper makes.
        kind: as lsblk calls it: `disk`, `part`, `loop`, `lvm`...
        disk: path of the disk that a partition is on.
        size: bytes; 0 without a card.
        removable: whether it is made for being taken out: a stick, or a card in a reader.
        own_serial: whether the serial number is the card's: behind USB it is the reader's.
        mounts: where it and what is on it is mounted; `[SWAP]` is swap.
        users: what else is made of it: LVM, RAID, encryption, loop devices.
        sequence: the kernel's number for this very disk or card: another one in its place has another.
    """

    path: str
    name: str
    kernel_name: str
    kind: str
    disk: str
    size: int
    removable: bool
    read_only: bool
    own_serial: bool
    transport: str
    model: str
    serial: str
    mounts: tuple[str, ...]
    users: tuple[str, ...]
    sequence: str

    @property
    def known_as(self) -> str:
        """The serial number, or what comes nearest where there is none."""
        return self.serial or f"{self.name}-{self.size}"

    @property
    def card(self) -> tuple[str, str, str, int]:
        """What another card in the same place has otherwise; who uses it may change."""
        return self.path, self.sequence, self.serial, self.size


def every(sysroot: Path) -> tuple[Device, ...]:
    """Return all block devices of the machine whose root is `sysroot`, partitions too.

    Raises:
        InputError: lsblk is not installed.
        BuildError: it failed.
    """
    argv = [find("lsblk", package="util-linux"), "--json", "--bytes", "--output", _COLUMNS]
    told = run([*argv, *(() if sysroot.parent == sysroot else ("--sysroot", sysroot))])
    trees: list[dict[str, Any]] = json.loads(told)["blockdevices"]
    return tuple(_device(node, above, sysroot) for tree in trees for node, above in _walk(tree, ()))


def look(path: Path, sysroot: Path) -> Device:
    """Return the device `path`; a link to one is followed.

    Raises:
        SafetyError: it is none.
        InputError: lsblk is not installed.
    """
    real = path.resolve()
    for device in every(sysroot):
        if real in {Path(device.path), Path("/dev") / device.kernel_name}:
            return device
    if real.is_block_device():
        raise SafetyError(f"{path} has nothing in it", hint="put the card in, and look with lsblk")
    what = "is not a block device" if real.exists() else "is not there"
    raise SafetyError(f"{path} {what}", hint="name the card's device, such as /dev/sdb; lsblk lists them")


def table(device: Path) -> tuple[str, tuple[Content, ...]]:
    """Return the id of the partition table, or empty, and what is in the partitions.

    What the kernel knows of partitions is not asked: it may be older than the card.

    Raises:
        InputError: a tool is not installed.
    """
    sfdisk = find("sfdisk", package="fdisk")
    whole = _content(device, 0, 0)
    if whole.kind:  # no table: a file system on the disk itself
        return "", (whole,)
    try:
        found = json.loads(run([sfdisk, "--json", device]))["partitiontable"]
    except BuildError:  # neither
        return "", ()
    unit = found.get("sectorsize", SECTOR)
    parts = [(one["start"] * unit, one["size"] * unit) for one in found.get("partitions", ())]
    return found.get("id", ""), tuple(_content(device, start, size) for start, size in parts)


def _content(device: Path, start: int, size: int) -> Content:
    blkid = find("blkid", package="util-linux")
    part = ("--offset", str(start), "--size", str(size)) if size else ()
    argv = [blkid, "--probe", "--output", "export", *part, device]
    lines = run(argv, accept=(0, _NOTHING, 8)).decode(errors="replace").splitlines()
    facts = dict(line.split("=", 1) for line in lines if "=" in line)
    kind = facts.get("TYPE", "")
    return Content(
        start=start,
        size=size,
        kind=kind,
        label=facts.get("LABEL", ""),
        uuid=facts.get("UUID", ""),
        overlays=_overlays(device, start) if kind == "vfat" else (),
    )


def _overlays(device: Path, start: int) -> tuple[str, ...]:
    argv = [find("mdir", package="mtools"), "-b", "-i", f"{device}@@{start}", "::"]
    try:
        listed = run(argv, env={"MTOOLS_SKIP_CHECK": "1", "HOME": "/"}).decode(errors="replace")
    except BuildError:  # damaged
        return ()
    return tuple(_OVERLAY.findall(listed))


def _walk(node: dict[str, Any], above: Sequence[str]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield every node of lsblk's tree with the path of the disk it is on."""
    yield node, above[0] if above else node["path"]
    for child in node.get("children", ()):
        yield from _walk(child, (*above, node["path"]))


def _device(node: dict[str, Any], disk: str, sysroot: Path) -> Device:
    here = sysroot / "sys/class/block" / node["kname"]
    below = [child for child, _ in _walk(node, ())]
    return Device(
        path=node["path"],
        name=node["name"],
        kernel_name=node["kname"],
        kind=node["type"],
        disk=disk,
        size=node["size"] or 0,
        # A card in a reader on the board itself is not "removable" to the kernel.
        removable=node["rm"] or _text(here / "device/type") == "SD",
        read_only=node["ro"],
        own_serial=(here / "device/cid").exists(),
        transport=node["tran"] or "",
        model=(node["model"] or _text(here / "device/name")).strip(),
        serial=node["serial"] or _text(here / "device/serial"),
        mounts=tuple(place for one in below for place in one["mountpoints"] if place),
        users=(
            *(f"{one['path']} ({one['type']})" for one in below[1:] if one["type"] != "part"),
            *_loops(node["path"], sysroot),
        ),
        sequence=_text(here / "diskseq"),
    )


def _loops(path: str, sysroot: Path) -> Iterator[str]:
    for backing in sorted((sysroot / "sys/class/block").glob("loop*/loop/backing_file")):
        if re.fullmatch(rf"{re.escape(path)}p?\d*", _text(backing)):
            yield f"/dev/{backing.parent.parent.name} (loop)"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
