"""The nouns of this component: what is decided about etcd for a whole cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nodebake.plan import NodePlan
    from nodebake.profile.types import Scalar

CONFIG_FILE = "/etc/etcd/conf.yml"
SNAPSHOT_FILE = "/var/lib/nodebake/snapshot.db"
REHEARSAL_FILE = "/etc/etcd/rehearsal.yml"
OLDEST_MINOR, NEWEST_MINOR = 4, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Where one certificate and its key lie on a node."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdPart:
    """Everything about etcd that is the same on all nodes.

    Attributes:
        version: upstream's version.
        data_dir: absolute path; `wal_dir` too, or empty.
        data_mount: mount point that must be mounted before etcd starts, or empty.
        data_device: what is to be mounted there, for messages.
        wal_mount: the same above `wal_dir`, or empty; `wal_device` is mounted there.
        heartbeat_interval: milliseconds, as `election_timeout`.
        snapshot_count: transactions.
        quota_backend_bytes: bytes, as `max_request_bytes` and `memory_limit`.
        settings: the user's further settings, checked, by etcd's own names.
        ca: path of the certificates of the authorities to trust.
        crl: path of the list of revoked certificates.
        members: the nodes that run it.
    """

    version: str
    data_dir: str
    wal_dir: str
    data_mount: str
    data_device: str
    wal_mount: str
    wal_device: str
    bin_dir: str
    client_port: int
    peer_port: int
    metrics_port: int
    heartbeat_interval: int
    election_timeout: int
    snapshot_count: int
    quota_backend_bytes: int
    max_request_bytes: int
    auto_compaction_mode: str
    auto_compaction_retention: str
    memory_limit: int
    open_files: int
    oom_score_adjust: int
    nice: int
    restart_delay: int
    log_level: str
    ca: str
    crl: str
    server: Pair
    peer: Pair
    client: Pair
    settings: dict[str, Scalar]
    members: tuple[NodePlan, ...]

    @property
    def release(self) -> tuple[int, int, int]:
        """Return the version as numbers that compare."""
        major, minor, patch = (int(number) for number in self.version.split("."))
        return major, minor, patch

    @property
    def restorer(self) -> str:
        """Return the program that restores snapshots (etcd's changelog: from 3.6 on no longer etcdctl)."""
        return "etcdutl" if self.release >= (3, 6, 0) else "etcdctl"

    @property
    def knows_old_api(self) -> bool:
        """Tell whether etcdctl is told which API to use; from 3.6 on there is one, and it complains."""
        return self.release < (3, 6, 0)

    @property
    def pairs(self) -> dict[Pair, str]:
        """Return the name of the leaf for every pair of paths: one leaf where several uses share paths."""
        return {self.client: "client", self.peer: "peer", self.server: "server"}

    @property
    def initial_cluster(self) -> str:
        """The members in etcd's own form, `name=url,name=url`."""
        return ",".join(f"{member.name}={self.peer_url(member)}" for member in self.members)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The client URL of every member."""
        return tuple(self.client_url(member) for member in self.members)

    def client_url(self, node: NodePlan) -> str:
        """Return where clients find a member."""
        return f"https://{node.url_host}:{self.client_port}"

    def peer_url(self, node: NodePlan) -> str:
        """Return where other members find a member."""
        return f"https://{node.url_host}:{self.peer_port}"

    def has_livez(self) -> bool:
        """Tell whether this release answers /livez (etcd changelogs: 3.4.29 and 3.5.11)."""
        return self.release >= (3, 5, 11) or (3, 4, 29) <= self.release < (3, 5, 0)
