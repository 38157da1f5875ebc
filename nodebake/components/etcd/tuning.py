"""Values for etcd that follow from the medium under it and the memory beside it.

Heartbeat and election: etcd's tuning guide (heartbeat about a round trip, election ten times that), with
the medium's worst write in place of the network's, since a slow disk delays a heartbeat as a slow link
does. Quota and memory limit: bbolt maps the whole database, and Go's heap comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
_LARGEST_QUOTA = 2048 * MIB  # etcd's own default
_SMALLEST_QUOTA = 64 * MIB
_STEP = 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Defaults for one medium, in the units of etcd's options (milliseconds, transactions)."""

    heartbeat_interval: int
    election_timeout: int
    snapshot_count: int = 10_000
    max_request_bytes: int = 1_572_864
    auto_compaction_mode: str = "periodic"
    auto_compaction_retention: str = "1h"


TUNINGS = {
    "sdcard": Tuning(heartbeat_interval=500, election_timeout=5000),
    "ssd": Tuning(heartbeat_interval=100, election_timeout=1000),
    "hdd": Tuning(heartbeat_interval=200, election_timeout=2000),
}


def quota(memory: int) -> int:
    """Return the default database quota in bytes: a quarter of the memory, at most etcd's 2 GiB."""
    return max(_SMALLEST_QUOTA, min(_LARGEST_QUOTA, memory // 4 // _STEP * _STEP))


def memory_limit(memory: int) -> int:
    """Return the default of GOMEMLIMIT in bytes: three eighths of the memory.

    The limit does not count the mapped database, and on a diskless node the root file system is memory.
    """
    return memory * 3 // 8 // MIB * MIB
