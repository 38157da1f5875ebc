"""What machines left on their disks, looked at from outside once their power is off."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.components.base import BasePart
from nodebake.components.etcd import EtcdPart
from nodebake.formats.card.layout import SECTOR

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.lab.rack import Rack
    from nodebake.plan import Plan

_TOOLS = {"sfdisk": "fdisk", "e2fsck": "e2fsprogs", "dumpe2fs": "e2fsprogs", "debugfs": "e2fsprogs"}
# Less than this a node leaves free: it is not worth a new table (see the decision on the data partition).
_WORTH = 64 << 20
# e2fsck opens what it has played a journal back on once more, and then forgets where in the file it began.
_DD = ("status=none", "conv=sparse", "bs=1M", "iflag=skip_bytes,count_bytes")
_REPAIRED = (0, 1)  # e2fsck(8): nothing to do, or done; a journal is played back after every power cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The last partition of a disk.

    Attributes:
        number: in the table.
        size: bytes of the partition.
        used: bytes that its file system takes for its own.
        left: bytes of the disk behind it.
        system: a copy of the file system, its journal played back.
    """

    number: int
    size: int
    used: int
    left: int
    system: Path

    @property
    def whole(self) -> bool:
        """Whether there is nothing more to grow into."""
        return 0 <= self.left < _WORTH and 0 <= self.size - self.used < _WORTH

    def names(self, directory: str) -> frozenset[str]:
        """Return what lies in a directory; nothing where there is none."""
        listed = run([find("debugfs", package="e2fsprogs"), "-R", f"ls -p {directory}", self.system]).decode()
        # "/inode/mode/uid/gid/name/size/"
        return frozenset(line.split("/")[-3] for line in listed.splitlines() if line.startswith("/"))


def find_tools(plan: Plan) -> None:
    """See that what looks at disks is there, where there will be something to look at.

    Raises:
        InputError: a tool is not installed.
    """
    for tool, package in _TOOLS.items() if plan.part(BasePart).grown else ():
        find(tool, package=package)


def judge(rack: Rack) -> None:
    """See that the data of members that were healthy is on their disks, on a partition up to the end.

    Disks with partitions only.

    Raises:
        ClusterError: it is not.
    """
    directory, data = rack.plan.part(EtcdPart).data_dir, rack.plan.profile.machine.data
    snapshots = f"{directory.removeprefix(data.mountpoint) if data else directory}/member/snap"
    for name in rack.members:
        machine = rack.machines[name]
        drive = next((one for one in machine.hardware.drives if one.holds_data), None)
        if drive is None or not any(event.stage == "healthy" for event in machine.events):
            continue
        found = look(drive.path)
        told = f"partition {found.number}, {found.size >> 20} MiB; {found.used >> 20} MiB of it are in use"
        rack.check(f"{name}'s data partition takes the rest of its disk", found.whole, told)
        rack.check(f"{name}'s data is on it", "db" in found.names(snapshots), snapshots)


def look(disk: Path) -> Data:
    """Return what the last partition of `disk`, an ext4, is like; a copy of it goes beside the disk.

    Raises:
        BuildError: there is none, or it is broken.
    """
    table = json.loads(run([find("sfdisk", package="fdisk"), "--json", disk]))["partitiontable"]
    last = table["partitions"][-1]
    start, size = last["start"] * SECTOR, last["size"] * SECTOR
    system = disk.with_suffix(".data")
    run(["dd", f"if={disk}", f"of={system}", *_DD, f"skip={start}", f"count={size}"], timeout=600)
    run([find("e2fsck", package="e2fsprogs"), "-p", system], accept=_REPAIRED)
    told = run([find("dumpe2fs", package="e2fsprogs"), "-h", system]).decode()
    facts = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    return Data(
        number=len(table["partitions"]),
        size=size,
        used=int(facts["Block count"]) * int(facts["Block size"]),
        left=disk.stat().st_size - start - size,
        system=system,
    )
