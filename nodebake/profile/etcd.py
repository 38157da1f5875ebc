"""The shape of a profile's section `etcd`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nodebake.profile.section import Section, Switched
from nodebake.profile.types import (
    AbsolutePath,
    ByteSize,
    Device,
    Like,
    Retention,
    Scalar,
    Version,
)


class TlsPaths(Section):
    """Where the certificates and keys lie on a node."""

    ca: AbsolutePath = "/etc/etcd/pki/ca.crt"
    """The authority's certificate: the only one the node trusts."""
    cert: AbsolutePath = "/etc/etcd/pki/server.crt"
    """The server's certificate."""
    key: AbsolutePath = "/etc/etcd/pki/server.key"
    """The server's key."""
    peer_cert: AbsolutePath = "/etc/etcd/pki/peer.crt"
    """The peer's certificate."""
    peer_key: AbsolutePath = "/etc/etcd/pki/peer.key"
    """The peer's key."""
    client_cert: AbsolutePath = "/etc/etcd/pki/client.crt"
    """The node's own client certificate, for etcdctl."""
    client_key: AbsolutePath = "/etc/etcd/pki/client.key"
    """The node's own client key."""


AccountName = Annotated[
    str,
    Like(
        r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}",
        "a name for etcd; write letters, digits and ._@-, beginning with a letter or digit",
    ),
]
KeyPrefix = Annotated[
    str,
    Like(
        r"|[A-Za-z0-9/][A-Za-z0-9/._:@-]*",
        "the beginning of a key; write letters, digits and /._:@-, such as /app/, or nothing for all keys",
    ),
]


class Grant(Section):
    """Keys that a role may use."""

    prefix: KeyPrefix
    """What they begin with; `""` is all keys."""
    permission: Literal["read", "write", "readwrite"] = "readwrite"
    """What may be done with them."""


class EtcdRole(Section):
    """A set of grants with a name."""

    name: AccountName
    """The role's name."""
    grants: tuple[Grant, ...] = ()
    """What it may use."""


class EtcdUser(Section):
    """Somebody who is let in by a certificate with that common name."""

    name: AccountName
    """The common name; `certs.operator` issues the certificate."""
    roles: tuple[AccountName, ...] = ()
    """Names of roles; `root` may do everything."""


class Auth(Section):
    """etcd's users and roles, made once; after that they are yours, to change with etcdctl as root."""

    roles: tuple[EtcdRole, ...] = ()
    """Roles besides `root`."""
    users: tuple[EtcdUser, ...] = ()
    """Users besides `root` (the operator), the nodes, and what the components ask for."""


class Etcd(Section):
    """etcd's version, storage and tuning; what is not set comes from the tuning set of `storage`."""

    version: Version = "3.5.16"
    """Upstream's version."""
    storage: Literal["sdcard", "ssd", "hdd"] = "ssd"
    """The medium under the data directory: picks a tuning set."""
    data_dir: AbsolutePath | None = None
    """Default: `etcd` on the data partition, or /var/lib/etcd without one."""
    wal_dir: AbsolutePath | None = None
    """Where to keep the write-ahead log (in `wal` in it), best on another device; from the first start on."""
    wal_device: Device | None = None
    """That device, as in fstab, with an ext4 that you made; mounted above `wal_dir`, by default /wal/etcd."""
    bin_dir: AbsolutePath = "/usr/local/bin"
    """Where the binaries go."""
    client_port: int = Field(default=2379, strict=True, ge=1, le=65535)
    """Port for clients."""
    peer_port: int = Field(default=2380, strict=True, ge=1, le=65535)
    """Port between members."""
    metrics_port: int = Field(default=2381, strict=True, ge=1, le=65535)
    """Port on 127.0.0.1 for /livez, /readyz and /metrics, without TLS."""
    heartbeat_interval: int | None = Field(default=None, strict=True, ge=1, le=10_000)
    """Milliseconds between a leader's heartbeats."""
    election_timeout: int | None = Field(default=None, strict=True, ge=5, le=50_000)
    """Milliseconds without a heartbeat before an election; at least 5 heartbeats."""
    snapshot_count: int | None = Field(default=None, strict=True, ge=1, le=1_000_000_000)
    """Committed transactions between snapshots."""
    quota_backend_bytes: ByteSize | None = None
    """Size at which the database refuses writes."""
    max_request_bytes: ByteSize | None = None
    """Largest request."""
    auto_compaction_mode: Literal["periodic", "revision"] | None = None
    """What `auto_compaction_retention` counts."""
    auto_compaction_retention: Retention | None = None
    """History to keep: a time such as `1h`, or a number of revisions."""
    memory_limit: ByteSize | None = None
    """Go's soft memory limit for etcd (GOMEMLIMIT)."""
    open_files: int = Field(default=65536, strict=True, ge=1024, le=1_048_576)
    """Limit on open files; at most what the kernel allows a process by default."""
    oom_score_adjust: int = Field(default=-900, strict=True, ge=-1000, le=1000)
    """How unwilling the kernel is to kill etcd when memory runs out: -1000 never, 1000 first."""
    nice: int = Field(default=-5, strict=True, ge=-20, le=19)
    """Scheduling priority."""
    restart_delay: int = Field(default=5, strict=True, ge=1, le=300)
    """Seconds before etcd is started again after it ended."""
    log_level: Literal["debug", "info", "warn", "error"] = "info"
    """How much etcd writes to its log."""
    tls: TlsPaths = TlsPaths()
    """Where certificates and keys lie on a node."""
    auth: Switched[Auth] = None
    """Users and roles: whoever has a certificate may do only what its user may. Without it, everything."""
    settings: dict[str, Scalar] = Field(default_factory=dict)
    """Further settings of etcd's configuration file by its own names; checked against the version."""
