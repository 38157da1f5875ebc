"""From the profile to an `EtcdPart`: every value with where it came from."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nodebake.components.etcd.checks import within
from nodebake.components.etcd.part import EtcdPart, Pair
from nodebake.components.etcd.tuning import TUNINGS, memory_limit, quota
from nodebake.plan import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.plan import Plan
    from nodebake.profile.load import Loaded

_TUNED = (
    "heartbeat_interval",
    "election_timeout",
    "snapshot_count",
    "max_request_bytes",
    "auto_compaction_mode",
    "auto_compaction_retention",
)
_AS_WRITTEN = (
    "version",
    "bin_dir",
    "client_port",
    "peer_port",
    "metrics_port",
    "open_files",
    "oom_score_adjust",
    "nice",
    "restart_delay",
    "log_level",
)


def resolve(loaded: Loaded, plan: Plan) -> tuple[EtcdPart, tuple[Setting, ...]]:
    """Return what profile, tuning set and board make of etcd, and the origin of what was left open."""
    etcd = loaded.profile.etcd
    defaults = _defaults(loaded, plan)
    values: dict[str, object] = {name: getattr(etcd, name) for name in _AS_WRITTEN}
    settings = []
    for name, (decided, origin) in defaults.items():
        asked = getattr(etcd, name)
        values[name] = decided if asked is None else asked
        if asked is None:
            settings.append(Setting(path=f"etcd.{name}", value=decided, origin=origin))
    return EtcdPart(**values, **_rest(plan, values)), tuple(settings)  # type: ignore[arg-type]  # names above


def _defaults(loaded: Loaded, plan: Plan) -> Mapping[str, tuple[object, str]]:
    etcd, data = loaded.profile.etcd, loaded.profile.machine.data
    tuning = TUNINGS[etcd.storage]
    defaults = {name: (getattr(tuning, name), f"tuning {etcd.storage}") for name in _TUNED}
    if etcd.auto_compaction_mode == "revision":
        defaults["auto_compaction_retention"] = ("10000", "derived: revisions, for auto_compaction_mode")
    memory = f"{plan.memory >> 20} MiB of memory"
    directory = (
        (f"{data.mountpoint}/etcd", "derived: on the data partition")
        if data
        else ("/var/lib/etcd", "default")
    )
    return defaults | {
        "quota_backend_bytes": (quota(plan.memory), f"derived: a quarter of {memory}, at most 2 GiB"),
        "memory_limit": (memory_limit(plan.memory), f"derived: three eighths of {memory}"),
        "data_dir": directory,
        "wal_dir": ("/wal/etcd", "derived: on wal_device") if etcd.wal_device else ("", "default"),
    }


def _rest(plan: Plan, values: Mapping[str, object]) -> dict[str, object]:
    profile = plan.profile
    tls, data = profile.etcd.tls, profile.machine.data
    used = (str(values["data_dir"]), str(values["wal_dir"]))
    guarded = data is not None and any(within(path, data.mountpoint) for path in used if path)
    return {
        "data_mount": data.mountpoint if data and guarded else "",
        "data_device": data.device if data and guarded else "",
        "wal_mount": str(PurePosixPath(used[1]).parent) if profile.etcd.wal_device else "",
        "wal_device": profile.etcd.wal_device or "",
        "ca": tls.ca,
        "crl": str(PurePosixPath(tls.ca).with_name("crl.der")),
        "server": Pair(certificate=tls.cert, key=tls.key),
        "peer": Pair(certificate=tls.peer_cert, key=tls.peer_key),
        "client": Pair(certificate=tls.client_cert, key=tls.client_key),
        "settings": dict(profile.etcd.settings),
        "members": plan.members,
    }
