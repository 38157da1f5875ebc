"""What machines left on their disks, looked at from outside once their power is off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.components.etcd import EtcdPart
from nodebake.formats.card.layout import SECTOR

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.lab.rack import Rack

# Less than this a node leaves free: it is not worth a new table (see the decision on the data partition).
_LEFT = 64 << 20
_REPAIRED = (0, 1)  # e2fsck(8): nothing to do, or done; a journal is played back after every power cut


def judge(rack: Rack) -> None:
    """See that the data of members that were healthy is on their disks, on a partition up to the end.

    Disks with partitions only; what was not written back when power was cut is in the journal.

    Raises:
        ClusterError: it does not.
    """
    for name in rack.members:
        machine = rack.machines[name]
        drive = next((one for one in machine.hardware.drives if one.holds_data), None)
        if drive and any(event.stage == "healthy" for event in machine.events):
            _judge(rack, name, drive.path)


def _judge(rack: Rack, name: str, disk: Path) -> None:
    table = json.loads(run([find("sfdisk", package="fdisk"), "--json", disk]))["partitiontable"]
    last = table["partitions"][-1]
    start, size = last["start"] * SECTOR, last["size"] * SECTOR
    left = disk.stat().st_size - start - size
    system = f"{disk}?offset={start}"
    run([find("e2fsck", package="e2fsprogs"), "-p", system], accept=_REPAIRED)
    used = _size(system)
    rack.check(
        f"{name}'s data partition takes the rest of its disk",
        0 <= left < _LEFT and 0 <= size - used < _LEFT,
        f"file system {used >> 20} of {size >> 20} MiB, {left >> 20} MiB left",
    )
    directory, data = rack.plan.part(EtcdPart).data_dir, rack.plan.profile.machine.data
    snapshots = f"{directory.removeprefix(data.mountpoint) if data else directory}/member/snap"
    found = run([find("debugfs", package="e2fsprogs"), "-R", f"ls -p {snapshots}", system]).decode()
    place = f"{snapshots} on partition {len(table['partitions'])}"
    rack.check(f"{name}'s data is on it", "/db/" in found, place)


def _size(system: str) -> int:
    """Return the bytes that a file system takes for its own."""
    told = run([find("dumpe2fs", package="e2fsprogs"), "-h", system]).decode()
    facts = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    return int(facts["Block count"]) * int(facts["Block size"])
