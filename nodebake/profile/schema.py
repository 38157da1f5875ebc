"""The shape of a profile: `Profile` and its sections, as frozen pydantic models.

Descriptions here become the profile reference in the documentation and the hints in an editor.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from nodebake.profile.firewall import Firewall
from nodebake.profile.section import Section, Switched
from nodebake.profile.types import (
    AbsolutePath,
    Address,
    ByteSize,
    Country,
    Device,
    Duration,
    FileName,
    HostLabel,
    HostName,
    Interface,
    InterfaceName,
    KernelSetting,
    KernelValue,
    Mode,
    ModuleName,
    OneOrMany,
    PackageName,
    Retention,
    Scalar,
    SchemaVersion,
    SubjectPart,
    SystemUser,
    TimeServer,
    TimeZone,
    Variable,
    Version,
)

__all__ = [
    "SMALLEST_MEMORY",
    "Access",
    "Address",
    "Authority",
    "Cluster",
    "DataPartition",
    "Etcd",
    "Firewall",
    "Interface",
    "Machine",
    "Network",
    "Node",
    "Passphrase",
    "Pki",
    "Profile",
    "Scalar",
    "Section",
    "Subject",
    "System",
    "TlsPaths",
    "User",
    "UserOverlay",
]

SMALLEST_DATA = 16 << 20
"""Bytes; less leaves an ext4 no room beside its journal."""
SMALLEST_MEMORY = 128 << 20
"""Bytes; less does not start Alpine with etcd."""


class Cluster(Section):
    """Who the nodes are together."""

    name: HostLabel
    """Names the cluster's vault and starts its etcd token."""
    domain: HostName | None = None
    """The nodes' DNS domain; with it every node also answers to `<node>.<domain>`."""
    shared_names: tuple[HostLabel, ...] = ("etcd",)
    """Names for any member, such as `etcd` for `etcd.<domain>`; in every member's certificate."""


class DataPartition(Section):
    """A file system that outlives reboots; etcd refuses to start when it is not mounted."""

    device: Device = "LABEL=DATA"
    """As in fstab: `LABEL=DATA`, `UUID=...` or a path under /dev."""
    mountpoint: AbsolutePath = "/data"
    """Where it is mounted."""
    filesystem: Literal["ext4", "xfs", "btrfs", "f2fs"] = "ext4"
    """What is on it."""
    place: Literal["boot-disk", "own-disk"] | None = None
    """`boot-disk`: last on the disk a node starts from, made and grown by the node; `own-disk`: one that you
    prepared, for instance on USB. Default: `boot-disk` for Alpine and on a Pi, if found by its label."""
    size: ByteSize | None = Field(default=None, ge=SMALLEST_DATA)
    """Its size in an image; default: the board's, which on a card is little, for the node makes it larger."""


class Machine(Section):
    """What the nodes are made of."""

    os: Literal["alpine", "debian"]
    """`alpine` runs OpenRC, `debian` runs systemd."""
    board: Literal["rpi3", "rpi4", "rpi5", "rpi-zero-2w", "vm"] = "vm"
    """Decides the architecture, the memory and the files for the boot partition."""
    release: Version | None = None
    """Release of Alpine in images, such as `3.22.1`; default: the board's."""
    arch: Literal["aarch64", "x86_64"] | None = None
    """Default: the board's."""
    memory: ByteSize | None = Field(default=None, ge=SMALLEST_MEMORY)
    """Memory of one machine; default: the board's."""
    data: DataPartition | None = None
    """The partition for data that must survive a reboot; needed where the root is in memory (Alpine)."""


class Network(Section):
    """What all nodes share of the network; addresses stand with the nodes."""

    interface: InterfaceName = "eth0"
    """The nodes' network interface; systemd and cloud-init also take a pattern such as `en*`."""
    gateway: OneOrMany[Address] = ()
    """Default routes, at most one per address family; none for a network of its own."""
    nameservers: OneOrMany[Address] = ()
    """DNS servers."""
    ntp: OneOrMany[TimeServer] = ()
    """Time servers; the nodes come up without them, from the clock floor that is baked in."""


class Node(Section):
    """One machine."""

    name: HostLabel
    """Host name, and name of the etcd member."""
    address: OneOrMany[Interface] = Field(min_length=1)
    """One address with its prefix (`192.168.7.11/24`), or several; peers use the first."""
    role: Literal["member", "client"] = "member"
    """A `member` runs etcd; a `client` gets certificates and etcdctl only."""
    names: OneOrMany[HostName] = ()
    """Further DNS names for its certificates."""


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
    settings: dict[str, Scalar] = Field(default_factory=dict)
    """Further settings of etcd's configuration file by its own names; checked against the version."""


class Subject(Section):
    """Parts of every certificate's subject besides its common name."""

    organization: SubjectPart | None = None
    """O."""
    organizational_unit: SubjectPart | None = None
    """OU."""
    country: Country | None = None
    """C, two letters."""
    state: SubjectPart | None = None
    """ST."""
    locality: SubjectPart | None = None
    """L."""


class Passphrase(Section):
    """Where the pass phrase of the authority's key comes from: exactly one of the three."""

    prompt: Literal[True] | None = None
    """Ask on the terminal."""
    file: FileName | None = None
    """First line of this file, relative to the profile."""
    env: Variable | None = None
    """This environment variable."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if [self.prompt, self.file, self.env].count(None) != 2:  # noqa: PLR2004 - two of three are absent
            raise ValueError("a pass phrase has one source; set exactly one of prompt, file and env")
        return self


class Authority(Section):
    """The cluster's certificate authority: minted in the vault, or brought along."""

    common_name: SubjectPart | None = None
    """Default: `<cluster> etcd CA`."""
    lifetime: Duration = "10y"
    """How long a minted authority is valid."""
    certificate: FileName | None = None
    """PEM file of your own authority or intermediate, relative to the profile."""
    key: FileName | None = None
    """PEM file of its key."""
    chain: FileName | None = None
    """PEM file with the certificates above an intermediate, up to the root."""
    passphrase: Passphrase | None = None
    """Keep the authority's key encrypted."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            absent = "key" if self.key is None else "certificate"
            raise ValueError(f"an authority of your own needs both certificate and key; add {absent}")
        if self.chain is not None and self.certificate is None:
            raise ValueError(
                "a chain belongs to an authority of your own; add certificate and key, or remove chain"
            )
        return self


class Pki(Section):
    """Keys and certificates."""

    algorithm: Literal["ecdsa-p256", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519"] = "ecdsa-p256"
    """Kind of every key."""
    authority: Authority = Authority()
    """The certificate authority."""
    leaf_lifetime: Duration = "5y"
    """How long a node's certificate is valid."""
    backdate: Duration = "7d"
    """How far before its making a certificate begins to be valid: nodes boot with slow clocks."""
    subject: Subject = Subject()
    """Parts of every subject."""


class User(Section):
    """A person's account on the nodes."""

    name: SystemUser
    """Login name."""
    ssh_authorized_keys: OneOrMany[str] = ()
    """Public keys, one per entry."""
    groups: OneOrMany[SystemUser] = ()
    """Further groups, for instance `wheel`."""


class Access(Section):
    """Who may log in."""

    ssh_authorized_keys: OneOrMany[str] = ()
    """Public keys of root."""
    users: tuple[User, ...] = ()
    """Accounts besides root."""


class System(Section):
    """The rest of the operating system."""

    timezone: TimeZone = "UTC"
    """Name of a tz database zone."""
    sysctl: dict[
        KernelSetting,
        KernelValue,
    ] = Field(default_factory=dict)
    """Kernel settings, besides those the components need."""
    modules: OneOrMany[ModuleName] = ()
    """Kernel modules to load, besides those the components need."""
    packages: OneOrMany[PackageName] = ()
    """Packages to install from the boot medium (Alpine)."""


class UserOverlay(Section):
    """A directory of the user's own files, laid out as on the target; its files win over ours."""

    path: FileName
    """The directory, relative to the profile."""
    modes: dict[str, Mode] = Field(default_factory=dict)
    """Modes by target path, for instance `etc/wireguard/wg0.conf: '0600'`."""


class Profile(Section):
    """A cluster and what to make for each of its nodes."""

    schema_version: SchemaVersion = Field(alias="schema")
    """Version of this format: 1."""
    cluster: Cluster
    """Who the nodes are together."""
    machine: Machine
    """What the nodes are made of."""
    network: Network = Network()
    """What the nodes share of the network."""
    nodes: tuple[Node, ...] = Field(min_length=1)
    """Every machine of the cluster."""
    etcd: Etcd = Etcd()
    """etcd's version, storage and tuning."""
    firewall: Switched[Firewall] = None
    """A packet filter (nftables) on every node; without this section there is none."""
    pki: Pki = Pki()
    """Keys and certificates."""
    access: Access = Access()
    """Who may log in."""
    system: System = System()
    """The rest of the operating system."""
    overlays: tuple[UserOverlay, ...] = ()
    """Directories of your own files; later ones win."""
    outputs: OneOrMany[Literal["apkovl", "nocloud", "rootfs"]] = Field(min_length=1)
    """What to write for each node."""
