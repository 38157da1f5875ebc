"""The shape of a profile: `Profile` and its sections, as frozen pydantic models.

Descriptions here become the profile reference in the documentation and the hints in an editor.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nodebake.profile.etcd import Etcd
from nodebake.profile.firewall import Firewall
from nodebake.profile.flannel import Flannel
from nodebake.profile.k3s import K3s
from nodebake.profile.pki import Pki
from nodebake.profile.section import Section, Switched
from nodebake.profile.types import (
    AbsolutePath,
    Address,
    ByteSize,
    Device,
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
    SchemaVersion,
    SystemUser,
    TimeServer,
    TimeZone,
    Version,
)

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
    flannel: Switched[Flannel] = None
    """A network for containers over all nodes; without this section there is none."""
    k3s: Switched[K3s] = None
    """Kubernetes (k3s) with this etcd as its datastore; without this section there is none."""
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
