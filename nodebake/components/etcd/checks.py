"""What etcd itself, its host or its cluster would trip over: found before anything is written."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nodebake.components.etcd.part import NEWEST_MINOR, OLDEST_MINOR
from nodebake.components.etcd.settings import check_settings
from nodebake.components.etcd.tuning import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.components.etcd.part import EtcdPart
    from nodebake.errors import Problem
    from nodebake.plan import Plan
    from nodebake.profile.load import Loaded

_LONGEST_ELECTION = 50_000  # milliseconds; etcd embed/config.go, maxElectionMs
_LARGEST_QUOTA = 8192 * MIB  # etcd's documentation, "Storage size limit"
_LARGEST_REQUEST = 10 * MIB  # etcd server/embed, recommendedMaxRequestBytes
_FIRST_FREE_PORT = 1024
# Memory, or places that systemd's sandbox hides from a service.
_BAD_PLACES = ("/tmp", "/var/tmp", "/run", "/dev", "/proc", "/sys", "/home", "/root")  # noqa: S108 - refused


def known_version(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for a release of etcd whose configuration is not known here."""
    version = loaded.profile.etcd.version
    major, minor, _ = (int(number) for number in version.split("."))
    if major != 3 or not OLDEST_MINOR <= minor <= NEWEST_MINOR:  # noqa: PLR2004 - etcd 3
        yield loaded.problem(
            "etcd.version",
            f"etcd {version} is not known here",
            f"take a release of 3.{OLDEST_MINOR} to 3.{NEWEST_MINOR}",
        )


def problems(loaded: Loaded, plan: Plan, part: EtcdPart) -> Iterator[Problem]:
    """Yield everything in the profile that keeps this etcd from running, each at its line."""
    yield from _times(loaded, part)
    yield from _sizes(loaded, plan, part)
    yield from _retention(loaded, part)
    yield from _ports(loaded, part)
    yield from _directories(loaded, part)
    yield from _wal_device(loaded, plan, part)
    yield from _certificates(loaded, part)
    for name, what, todo in check_settings(part.settings, part.release):
        yield loaded.problem(f"etcd.settings.{name}", what, todo)


def warnings(plan: Plan, part: EtcdPart) -> Iterator[str]:
    """Yield what works, but not as well as the user may think."""
    if part.quota_backend_bytes > _LARGEST_QUOTA:
        yield "etcd's quota_backend_bytes is above 8 GiB, the largest that etcd recommends"
    elif part.quota_backend_bytes * 2 > plan.memory:
        yield "etcd's quota_backend_bytes is more than half of the memory: a full database will be slow"
    if part.max_request_bytes > _LARGEST_REQUEST:
        yield "etcd's max_request_bytes is above 10 MiB, the largest that etcd recommends"
    yield from _storage_warnings(plan, part)


def _storage_warnings(plan: Plan, part: EtcdPart) -> Iterator[str]:
    data = plan.profile.machine.data
    for name, path in (("data_dir", part.data_dir), ("wal_dir", part.wal_dir)):
        if data is None or not path:
            continue
        if path == data.mountpoint:
            yield f"etcd's {name} is the mount point {path} itself; a directory in it is better"
        elif not within(path, data.mountpoint) and not (name == "wal_dir" and part.wal_device):
            yield f"etcd's {name} {path} is not on the data partition {data.mountpoint}"


def _times(loaded: Loaded, part: EtcdPart) -> Iterator[Problem]:
    asked = "heartbeat_interval" if loaded.profile.etcd.election_timeout is None else "election_timeout"
    if part.election_timeout < 5 * part.heartbeat_interval:
        yield loaded.problem(
            f"etcd.{asked}",
            f"an election timeout of {part.election_timeout} ms is less than five heartbeats of "
            f"{part.heartbeat_interval} ms",
            f"set election_timeout to {10 * part.heartbeat_interval} or a shorter heartbeat_interval",
        )
    if part.election_timeout > _LONGEST_ELECTION:
        yield loaded.problem(
            "etcd.election_timeout", f"{part.election_timeout} ms is too long for etcd", "take at most 50000"
        )


def _sizes(loaded: Loaded, plan: Plan, part: EtcdPart) -> Iterator[Problem]:
    for name, value in (
        ("quota_backend_bytes", part.quota_backend_bytes),
        ("memory_limit", part.memory_limit),
    ):
        if value > plan.memory:
            yield loaded.problem(
                f"etcd.{name}",
                f"{value // MIB} MiB is more than the {plan.memory // MIB} MiB of memory",
                "lower it, or set machine.memory to what the machines have",
            )
        elif value < MIB:
            yield loaded.problem(f"etcd.{name}", f"{value} bytes is too little", "write for instance 256MiB")
    if part.max_request_bytes > part.quota_backend_bytes:
        yield loaded.problem(
            "etcd.max_request_bytes", "a request may be larger than the database", "lower it"
        )
    elif part.max_request_bytes == 0:
        yield loaded.problem("etcd.max_request_bytes", "0 refuses every request", "remove it")


def _retention(loaded: Loaded, part: EtcdPart) -> Iterator[Problem]:
    if part.auto_compaction_mode == "revision" and not part.auto_compaction_retention.isdigit():
        yield loaded.problem(
            "etcd.auto_compaction_retention",
            f"{part.auto_compaction_retention!r} is a time, but auto_compaction_mode is revision",
            "write a number of revisions, or take the mode periodic",
        )


def _ports(loaded: Loaded, part: EtcdPart) -> Iterator[Problem]:
    taken: dict[int, str] = {}
    for name in ("client_port", "peer_port", "metrics_port"):
        port: int = getattr(part, name)
        if port in taken:
            yield loaded.problem(f"etcd.{name}", f"{port} is already {taken[port]}", "take another port")
        elif port < _FIRST_FREE_PORT:
            yield loaded.problem(
                f"etcd.{name}", f"{port} needs root, which etcd does not run as", "take 1024 or more"
            )
        taken.setdefault(port, name)


def _directories(loaded: Loaded, part: EtcdPart) -> Iterator[Problem]:
    for name, path in (("data_dir", part.data_dir), ("wal_dir", part.wal_dir), ("bin_dir", part.bin_dir)):
        yield from _place(loaded, f"etcd.{name}", path)
    if not part.wal_dir:
        return
    if part.wal_dir == part.data_dir or within(part.wal_dir, f"{part.data_dir}/member"):
        yield loaded.problem(
            "etcd.wal_dir",
            f"{part.wal_dir} is where etcd keeps other data",
            "take a directory of its own, best on another device, or remove it",
        )
    elif within(part.data_dir, part.wal_dir):
        yield loaded.problem("etcd.wal_dir", f"data_dir {part.data_dir} lies in it", "take another directory")


def _wal_device(loaded: Loaded, plan: Plan, part: EtcdPart) -> Iterator[Problem]:
    """Yield why the log's device cannot be mounted where the log is."""
    data, device, place = plan.profile.machine.data, part.wal_device, part.wal_mount
    if not device:
        return
    if place == "/":
        todo = "write for instance /wal/etcd"
        yield loaded.problem("etcd.wal_dir", f"{part.wal_dir} is no directory below a mount point", todo)
    if data and (within(place, data.mountpoint) or within(data.mountpoint, place)):
        todo = "write for instance /wal/etcd"
        yield loaded.problem(
            "etcd.wal_dir", f"{part.wal_dir} lies on the data partition, not on {device}", todo
        )
    if data and data.device == device:
        yield loaded.problem("etcd.wal_device", f"{device} is the data partition", "take another device")
    if plan.init == "openrc" and device.startswith(("PARTLABEL=", "PARTUUID=")):
        yield loaded.problem(
            "etcd.wal_device",
            f"{device} is a name that Alpine's mount and findfs (busybox) do not know",
            "write LABEL=, UUID= or a path under /dev",
        )


def _certificates(loaded: Loaded, part: EtcdPart) -> Iterator[Problem]:
    uses = (("", part.server), ("peer_", part.peer), ("client_", part.client))
    yield from _place(loaded, "etcd.tls.ca", part.ca)
    holds: dict[str, tuple[str, object]] = {part.ca: ("ca", None)}
    for prefix, pair in uses:
        for name, path in ((f"{prefix}cert", pair.certificate), (f"{prefix}key", pair.key)):
            yield from _place(loaded, f"etcd.tls.{name}", path)
            other, whole = holds.setdefault(path, (name, pair))
            if other != name and (whole != pair or other.endswith("cert") != name.endswith("cert")):
                yield loaded.problem(
                    f"etcd.tls.{name}",
                    f"{path} is already {other}",
                    "take another file, or share certificate and key together",
                )


def _place(loaded: Loaded, name: str, path: str) -> Iterator[Problem]:
    bad = next((place for place in _BAD_PLACES if within(path, place)), None)
    if bad:
        yield loaded.problem(name, f"a service cannot keep anything in {bad}", "take a path outside of it")


def within(path: str, directory: str) -> bool:
    """Tell whether `path` is `directory` or lies in it."""
    return PurePosixPath(path).is_relative_to(directory)
