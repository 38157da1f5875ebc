"""etcd's configuration file, with the types its parser insists on (etcd `embed/config.go`, sigs.k8s.io/yaml).

Strings are written as JSON strings, which are YAML strings in every dialect: `no`, `01` and `1e3` stay what
they are. URL lists are one string, durations integers, `log-outputs` a list.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nodebake.components.etcd.keys import KEYS

if TYPE_CHECKING:
    from nodebake.components.etcd.part import EtcdPart, Pair
    from nodebake.plan import NodePlan
    from nodebake.profile.types import Scalar

Value = str | bool | int | float | list[str] | dict[str, str | bool]


def conf_yml(part: EtcdPart, node: NodePlan, *, token: str) -> bytes:
    """Return the bytes of `conf.yml` for one member.

    Args:
        part: the cluster's etcd.
        node: the member.
        token: the cluster's token.
    """
    return _lines(_values(part, node, token))


def rehearsal_yml(part: EtcdPart, node: NodePlan, *, token: str) -> bytes:
    """Return the configuration a member without data rehearses with; see etcd-run.

    The same members under another token: whoever has data wants nothing to do with it. Nobody but etcd-run
    is a client, through a socket; what is written is thrown away, so no disk needs to be waited for.
    """
    stage = f"{part.data_dir}/rehearsal"
    values = _values(part, node, f"{token}-rehearsal") | {
        "data-dir": f"{stage}/data",
        # A file of this name where etcd-run is; 3.4 takes no path, and wants something like a port.
        "listen-client-urls": "unix://socket:0",
        "log-level": "warn",
        "unsafe-no-fsync": True,
    }
    kept = {key: value for key, value in values.items() if key not in {"wal-dir", *part.settings}}
    return _lines({key: value for key, value in kept.items() if _known(key, part)})


def _known(key: str, part: EtcdPart) -> bool:
    return key not in KEYS or KEYS[key].known_to(part.release)


def _values(part: EtcdPart, node: NodePlan, token: str) -> dict[str, Value]:
    values: dict[str, Value] = {"name": node.name, "data-dir": part.data_dir}
    if part.wal_dir:
        # etcd first makes `<wal-dir>.tmp` beside it: in a directory that belongs to it.
        values["wal-dir"] = f"{part.wal_dir}/wal"
    values |= _urls(part, node, token) | _tuning(part) | _by_version(part) | _further(part)
    values["client-transport-security"] = _security(part, part.server)
    values["peer-transport-security"] = _security(part, part.peer)
    # The sections above have no key for it. etcd decodes its file into the structure that holds these two
    # as well, and fills in from the sections without emptying them (embed/config.go, configYAML, from 3.4
    # to 3.7; seen with 3.5.16).
    values |= {"ClientTLSInfo": {"CRLFile": part.crl}, "PeerTLSInfo": {"CRLFile": part.crl}}
    return values


def _urls(part: EtcdPart, node: NodePlan, token: str) -> dict[str, Value]:
    peer = part.peer_url(node)
    hosts = [f"[{ip}]" if ":" in ip else ip for ip in node.ips]
    loopbacks = ["127.0.0.1", *(["[::1]"] if any(":" in ip for ip in node.ips) else [])]
    return {
        "listen-peer-urls": peer,
        "listen-client-urls": ",".join(f"https://{host}:{part.client_port}" for host in [*hosts, *loopbacks]),
        "listen-metrics-urls": f"http://127.0.0.1:{part.metrics_port}",
        "initial-advertise-peer-urls": peer,
        "advertise-client-urls": part.client_url(node),
        "initial-cluster": part.initial_cluster,
        "initial-cluster-token": token,
        "initial-cluster-state": "new",
        "strict-reconfig-check": True,
    }


def _tuning(part: EtcdPart) -> dict[str, Value]:
    return {
        "heartbeat-interval": part.heartbeat_interval,
        "election-timeout": part.election_timeout,
        "pre-vote": True,
        "snapshot-count": part.snapshot_count,
        "quota-backend-bytes": part.quota_backend_bytes,
        "max-request-bytes": part.max_request_bytes,
        "auto-compaction-mode": part.auto_compaction_mode,
        "auto-compaction-retention": part.auto_compaction_retention,
        "logger": "zap",
        "log-level": part.log_level,
        "log-outputs": ["stderr"],
    }


def _by_version(part: EtcdPart) -> dict[str, Value]:
    wanted: dict[str, Value] = {
        "enable-v2": False,
        "tls-min-version": "TLS1.2",
        "feature-gates": "InitialCorruptCheck=true",
    }
    if part.release < (3, 6, 0):
        wanted["experimental-initial-corrupt-check"] = True
    return {key: value for key, value in wanted.items() if KEYS[key].known_to(part.release)}


def _further(part: EtcdPart) -> dict[str, Value]:
    further: dict[str, Value] = {key: _as_kind(key, value) for key, value in part.settings.items()}
    gates = str(further.get("feature-gates", ""))
    if gates and "InitialCorruptCheck" not in gates:
        further["feature-gates"] = f"InitialCorruptCheck=true,{gates}"
    return further


def _as_kind(key: str, value: Scalar) -> Value:
    if KEYS[key].kind == "list":
        return [word.strip() for word in str(value).split(",")]
    return value


def _security(part: EtcdPart, pair: Pair) -> dict[str, str | bool]:
    return {
        "cert-file": pair.certificate,
        "key-file": pair.key,
        "client-cert-auth": True,
        "trusted-ca-file": part.ca,
    }


def _lines(values: dict[str, Value]) -> bytes:
    return "".join(f"{key}:{_yaml(key, value)}\n" for key, value in values.items()).encode()


def _yaml(key: str, value: Value) -> str:
    if key == "data-dir":
        return f" {value}"  # bare: Alpine's own init script reads it with sed and keeps the quotes
    if isinstance(value, dict):
        return "".join(
            f"\n  {name}: {json.dumps(inner, ensure_ascii=False)}" for name, inner in value.items()
        )
    return f" {json.dumps(value, ensure_ascii=False)}"
