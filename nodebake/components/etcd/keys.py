"""The keys of etcd's configuration file, and the releases that know them.

Read from the JSON names in `embed/config.go` (and for the proxy `etcdmain/config.go`) of every release from
3.4.0 to 3.7.1. etcd ignores a key that
it does not know without a word, so this table is the only thing between a slip and a setting that is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["string", "bool", "number", "duration", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the configuration file.

    Attributes:
        kind: its type; a duration is an integer of nanoseconds.
        since: by minor release of etcd 3, the first patch release that knows the key.
    """

    kind: Kind
    since: dict[int, int]

    def known_to(self, version: tuple[int, int, int]) -> bool:
        """Tell whether that release of etcd reads the key."""
        first = self.since.get(version[1])
        return first is not None and version[2] >= first


# name, type, then for every minor release that has it the first patch release that does
_TABLE = """\
advertise-client-urls string 3.4.0 3.5.0 3.6.0 3.7.0
auth-token string 3.4.0 3.5.0 3.6.0 3.7.0
auth-token-ttl number 3.4.10 3.5.0 3.6.0 3.7.0
auto-compaction-mode string 3.4.0 3.5.0 3.6.0 3.7.0
auto-compaction-retention string 3.4.0 3.5.0 3.6.0 3.7.0
backend-batch-interval duration 3.4.0 3.5.0 3.6.0 3.7.0
backend-batch-limit number 3.4.0 3.5.0 3.6.0 3.7.0
backend-bbolt-freelist-type string 3.5.0 3.6.0 3.7.0
bcrypt-cost number 3.4.0 3.5.0 3.6.0 3.7.0
bootstrap-defrag-threshold-megabytes number 3.6.0 3.7.0
cipher-suites list 3.4.0 3.5.0 3.6.0 3.7.0
compact-hash-check-time duration 3.6.0 3.7.0
compaction-batch-limit number 3.6.0 3.7.0
compaction-sleep-interval duration 3.6.0 3.7.0
corrupt-check-time duration 3.6.0 3.7.0
cors string 3.4.0 3.5.0 3.6.0 3.7.0
data-dir string 3.4.0 3.5.0 3.6.0 3.7.0
debug bool 3.4.0
discovery string 3.4.0 3.5.0 3.6.0
discovery-proxy string 3.4.0 3.5.0 3.6.0
discovery-srv string 3.4.0 3.5.0 3.6.0 3.7.0
discovery-srv-name string 3.4.0 3.5.0 3.6.0 3.7.0
distributed-tracing-address string 3.6.0 3.7.0
distributed-tracing-instance-id string 3.6.0 3.7.0
distributed-tracing-sampling-rate number 3.6.0 3.7.0
distributed-tracing-service-name string 3.6.0 3.7.0
downgrade-check-time duration 3.6.0 3.7.0
election-timeout number 3.4.0 3.5.0 3.6.0 3.7.0
enable-distributed-tracing bool 3.6.0 3.7.0
enable-grpc-gateway bool 3.4.0 3.5.0 3.6.0 3.7.0
enable-log-rotation bool 3.5.0 3.6.0 3.7.0
enable-pprof bool 3.4.0 3.5.0 3.6.0 3.7.0
enable-v2 bool 3.4.0 3.5.0
experimental-backend-bbolt-freelist-type string 3.4.0
experimental-bootstrap-defrag-threshold-megabytes number 3.5.0 3.6.0
experimental-compact-hash-check-enabled bool 3.5.5 3.6.0
experimental-compact-hash-check-time duration 3.5.5 3.6.0
experimental-compaction-batch-limit number 3.4.0 3.5.0 3.6.0
experimental-compaction-sleep-interval duration 3.5.16 3.6.0
experimental-corrupt-check-time duration 3.4.0 3.5.0 3.6.0
experimental-distributed-tracing-address string 3.5.0 3.6.0
experimental-distributed-tracing-instance-id string 3.5.0 3.6.0
experimental-distributed-tracing-sampling-rate number 3.5.11 3.6.0
experimental-distributed-tracing-service-name string 3.5.0 3.6.0
experimental-downgrade-check-time duration 3.5.0 3.6.0
experimental-enable-distributed-tracing bool 3.5.0 3.6.0
experimental-enable-lease-checkpoint bool 3.4.0 3.5.0 3.6.0
experimental-enable-lease-checkpoint-persist bool 3.4.20 3.5.2 3.6.0
experimental-enable-v2v3 string 3.4.0 3.5.0
experimental-initial-corrupt-check bool 3.4.0 3.5.0 3.6.0
experimental-memory-mlock bool 3.5.0 3.6.0
experimental-peer-skip-client-san-verification bool 3.6.0
experimental-snapshot-catch-up-entries number 3.5.14 3.6.0
experimental-stop-grpc-service-on-defrag bool 3.5.14 3.6.0
experimental-txn-mode-write-with-shared-buffer bool 3.5.0 3.6.0
experimental-warning-apply-duration duration 3.4.16 3.5.0 3.6.0
experimental-warning-unary-request-duration duration 3.6.0
experimental-watch-progress-notify-interval duration 3.4.11 3.5.0 3.6.0
feature-gates string 3.6.0 3.7.0
force-new-cluster bool 3.4.0 3.5.0 3.6.0 3.7.0
grpc-keepalive-interval duration 3.4.0 3.5.0 3.6.0 3.7.0
grpc-keepalive-min-time duration 3.4.0 3.5.0 3.6.0 3.7.0
grpc-keepalive-timeout duration 3.4.0 3.5.0 3.6.0 3.7.0
heartbeat-interval number 3.4.0 3.5.0 3.6.0 3.7.0
host-whitelist string 3.4.0 3.5.0 3.6.0 3.7.0
initial-advertise-peer-urls string 3.4.0 3.5.0 3.6.0 3.7.0
initial-cluster string 3.4.0 3.5.0 3.6.0 3.7.0
initial-cluster-state string 3.4.0 3.5.0 3.6.0 3.7.0
initial-cluster-token string 3.4.0 3.5.0 3.6.0 3.7.0
initial-election-tick-advance bool 3.4.0 3.5.0 3.6.0 3.7.0
listen-client-http-urls string 3.4.25 3.5.8 3.6.0 3.7.0
listen-client-urls string 3.4.0 3.5.0 3.6.0 3.7.0
listen-metrics-urls string 3.4.0 3.5.0 3.6.0 3.7.0
listen-peer-urls string 3.4.0 3.5.0 3.6.0 3.7.0
log-format string 3.6.0 3.7.0
log-level string 3.4.0 3.5.0 3.6.0 3.7.0
log-output list 3.4.0
log-outputs list 3.4.0 3.5.0 3.6.0 3.7.0
log-package-levels string 3.4.0
log-rotation-config-json string 3.5.0 3.6.0 3.7.0
logger string 3.4.0 3.5.0 3.6.0 3.7.0
max-concurrent-streams number 3.4.20 3.5.5 3.6.0 3.7.0
max-learners number 3.6.0 3.7.0
max-request-bytes number 3.4.0 3.5.0 3.6.0 3.7.0
max-snapshots number 3.4.0 3.5.0 3.6.0 3.7.0
max-txn-ops number 3.4.0 3.5.0 3.6.0 3.7.0
max-wals number 3.4.0 3.5.0 3.6.0 3.7.0
memory-mlock bool 3.6.0 3.7.0
metrics string 3.4.0 3.5.0 3.6.0 3.7.0
name string 3.4.0 3.5.0 3.6.0 3.7.0
next-cluster-version-compatible bool 3.4.31
pre-vote bool 3.4.0 3.5.0 3.6.0 3.7.0
proxy string 3.4.0 3.5.0
proxy-dial-timeout number 3.4.0 3.5.0
proxy-failure-wait number 3.4.0 3.5.0
proxy-read-timeout number 3.4.0 3.5.0
proxy-refresh-interval number 3.4.0 3.5.0
proxy-write-timeout number 3.4.0 3.5.0
quota-backend-bytes number 3.4.0 3.5.0 3.6.0 3.7.0
self-signed-cert-validity number 3.5.1 3.6.0 3.7.0
snapshot-catchup-entries number 3.6.0 3.7.0
snapshot-count number 3.4.0 3.5.0 3.6.0 3.7.0
strict-reconfig-check bool 3.4.0 3.5.0 3.6.0 3.7.0
tls-max-version string 3.4.25 3.5.8 3.6.0 3.7.0
tls-min-version string 3.4.25 3.5.8 3.6.0 3.7.0
unsafe-no-fsync bool 3.4.10 3.5.0 3.6.0 3.7.0
v2-deprecation string 3.5.0 3.6.0 3.7.0
wal-dir string 3.4.0 3.5.0 3.6.0 3.7.0
warning-apply-duration duration 3.6.0 3.7.0
warning-unary-request-duration duration 3.6.0 3.7.0
watch-progress-notify-interval duration 3.6.0 3.7.0
"""


def _row(line: str) -> tuple[str, Key]:
    name, kind, *releases = line.split()
    since = {int(minor): int(patch) for _, minor, patch in (release.split(".") for release in releases)}
    return name, Key(kind=kind, since=since)  # type: ignore[arg-type]  # a test reads the table's kinds


KEYS = dict(_row(line) for line in _TABLE.splitlines())

OWNED = {
    "name": "nodes[].name",
    "data-dir": "etcd.data_dir",
    "wal-dir": "etcd.wal_dir",
    "listen-peer-urls": "nodes[].address and etcd.peer_port",
    "listen-client-urls": "nodes[].address and etcd.client_port",
    "listen-client-http-urls": "",
    "listen-metrics-urls": "etcd.metrics_port",
    "initial-advertise-peer-urls": "nodes[].address and etcd.peer_port",
    "advertise-client-urls": "nodes[].address and etcd.client_port",
    "initial-cluster": "nodes",
    "initial-cluster-state": "",
    "initial-cluster-token": "cluster.name",
    "discovery": "nodes",
    "discovery-proxy": "nodes",
    "discovery-srv": "nodes",
    "discovery-srv-name": "nodes",
    "force-new-cluster": "",
    "client-transport-security": "etcd.tls",
    "peer-transport-security": "etcd.tls",
    "cert-file": "etcd.tls.cert",
    "key-file": "etcd.tls.key",
    "trusted-ca-file": "etcd.tls.ca",
    "client-cert-auth": "",
    "auto-tls": "",
    "heartbeat-interval": "etcd.heartbeat_interval",
    "election-timeout": "etcd.election_timeout",
    "snapshot-count": "etcd.snapshot_count",
    "quota-backend-bytes": "etcd.quota_backend_bytes",
    "max-request-bytes": "etcd.max_request_bytes",
    "auto-compaction-mode": "etcd.auto_compaction_mode",
    "auto-compaction-retention": "etcd.auto_compaction_retention",
    "log-level": "etcd.log_level",
    "log-outputs": "",
    "log-output": "",
    "logger": "",
    "unsafe-no-fsync": "",
    "proxy": "",
}
"""Keys that `etcd.settings` may not have, and where in the profile their value comes from (empty: fixed)."""
