"""What a profile comes to: `Plan`, its nodes and its settings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from nodebake.plan.boards import Arch, Board
    from nodebake.profile.marks import Marks
    from nodebake.profile.schema import Profile

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A decided value.

    Attributes:
        path: its dotted path in the profile, for instance `etcd.heartbeat_interval`.
        value: what JSON can hold.
        origin: `profiles/x.yaml:14`, `board rpi3`, `tuning sdcard`, `default` or `derived: why`.
    """

    path: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """One machine.

    Attributes:
        name: host name and member name.
        role: a `member` runs etcd, a `client` does not.
        interfaces: its addresses with their prefixes (`192.168.7.11/24`); peers use the first.
        fqdn: its name in the cluster's domain, or its name alone when there is no domain.
        dns: all its names, the host name first; without the cluster's shared names.
    """

    name: str
    role: Literal["member", "client"]
    interfaces: tuple[str, ...]
    fqdn: str
    dns: tuple[str, ...]

    @property
    def ip(self) -> str:
        """The address that peers use, without its prefix."""
        return self.ips[0]

    @property
    def ips(self) -> tuple[str, ...]:
        """All addresses, without their prefixes."""
        return tuple(interface.partition("/")[0] for interface in self.interfaces)

    @property
    def url_host(self) -> str:
        """The address that peers use, as it stands in a URL (RFC 3986: IPv6 in brackets)."""
        return f"[{self.ip}]" if ":" in self.ip else self.ip


Protocol = Literal["tcp", "udp"]
Callers = Literal["anyone", "members", "nodes", "clients"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A port that others may call.

    Attributes:
        port: its number.
        protocol: of the transport.
        callers: `nodes` are those of the cluster, `clients` also who the profile's firewall names.
        nodes: names of the nodes that have it; all if it is empty.
        name: what listens there.
    """

    port: int
    protocol: Protocol = "tcp"
    callers: Callers
    nodes: tuple[str, ...] = ()
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file system that has to be mounted; somebody made it before.

    Attributes:
        name: tells it from others, for services.
        device: as in fstab.
        mountpoint: where.
        filesystem: what is on it.
        role: the nodes that have it; all if it is None.
    """

    name: str
    device: str
    mountpoint: str
    filesystem: str = "ext4"
    role: Literal["member", "client"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a component asks of the operating system and of etcd, which others bake.

    Attributes:
        packages: Alpine's, by name.
        modules: kernel modules.
        sysctl: kernel settings; the profile's own win.
        openings: ports it listens on.
        mounts: file systems besides the data partition.
        trusted: networks of its own that may call anything.
        names: further names that every node resolves, each to these addresses.
        users: of etcd, by common name, each with the beginnings of the keys that it reads and writes.
    """

    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    sysctl: Mapping[str, int | str] = field(default_factory=dict)
    openings: tuple[Opening, ...] = ()
    mounts: tuple[Mount, ...] = ()
    trusted: tuple[str, ...] = ()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def plus(self, other: Needs) -> Needs:
        """Return both, each thing once."""
        return Needs(
            packages=tuple(dict.fromkeys((*self.packages, *other.packages))),
            modules=tuple(dict.fromkeys((*self.modules, *other.modules))),
            sysctl={**self.sysctl, **other.sysctl},
            openings=tuple(dict.fromkeys((*self.openings, *other.openings))),
            mounts=tuple(dict.fromkeys((*self.mounts, *other.mounts))),
            trusted=tuple(dict.fromkeys((*self.trusted, *other.trusted))),
            names={**self.names, **other.names},
            users={**self.users, **other.users},
        )


NOTHING = Needs()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything decided about a cluster before the first byte is written; holds no secrets.

    Attributes:
        name: the profile's; names the directory of the artefacts.
        profile: what the user wrote, with the schema's defaults.
        board: the kind of machine.
        arch: `uname -m` of the nodes.
        memory: bytes of one machine.
        init: what starts services.
        libc: what dynamic binaries need.
        nodes: in the order of the profile.
        settings: one per path.
        parts: what the components decided, one frozen dataclass each; see `part`.
        needs: what they ask of the operating system.
        warnings: what works but is probably not meant.
        directory: where the profile's relative file names start; not in the JSON, as `files` and `marks`.
        files: what the profile was read from: its own file, and those it extends.
        marks: where each value of the profile was written.
    """

    name: str
    profile: Profile
    board: Board
    arch: Arch
    memory: int
    init: Literal["openrc", "systemd"]
    libc: Literal["musl", "glibc"]
    nodes: tuple[NodePlan, ...]
    settings: tuple[Setting, ...]
    parts: tuple[object, ...] = ()
    needs: Needs = NOTHING
    warnings: tuple[str, ...] = ()
    directory: Path
    files: tuple[Path, ...]
    marks: Marks

    @property
    def members(self) -> tuple[NodePlan, ...]:
        """The nodes that run etcd."""
        return tuple(node for node in self.nodes if node.role == "member")

    @property
    def shared_names(self) -> tuple[str, ...]:
        """The names that stand for any member: `etcd`, and `etcd.<domain>` when there is a domain."""
        cluster = self.profile.cluster
        qualified = (f"{name}.{cluster.domain}" for name in cluster.shared_names if cluster.domain)
        return (*cluster.shared_names, *qualified)

    def node(self, name: str) -> NodePlan:
        """Return the node called `name`.

        Raises:
            KeyError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def part(self, kind: type[Part]) -> Part:
        """Return what a component decided, by its class.

        Raises:
            KeyError: no component decided such a thing.
        """
        for part in self.parts:
            if isinstance(part, kind):
                return part
        raise KeyError(kind.__name__)

    def has(self, kind: type) -> bool:
        """Tell whether a component decided a part of this class."""
        return any(isinstance(part, kind) for part in self.parts)

    def also_from(self, path: Path) -> Plan:
        """Return the plan as one that a further file went into."""
        return replace(self, files=(*self.files, path))

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold of it: the same on every machine."""
        return {
            "name": self.name,
            "board": self.board.name,
            "arch": self.arch,
            "memory": self.memory,
            "init": self.init,
            "libc": self.libc,
            "shared_names": list(self.shared_names),
            "nodes": [
                {
                    "name": node.name,
                    "role": node.role,
                    "interfaces": list(node.interfaces),
                    "fqdn": node.fqdn,
                    "dns": list(node.dns),
                }
                for node in self.nodes
            ],
            "settings": [
                {"path": setting.path, "value": setting.value, "origin": setting.origin}
                for setting in self.settings
            ],
            "warnings": list(self.warnings),
        }

    def digest(self) -> str:
        """Return the SHA-256 of all that was decided, hexadecimal: the same wherever it was written down."""
        told = self.to_json()
        del told["warnings"]
        told["settings"] = {setting.path: setting.value for setting in self.settings}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def with_part(
    plan: Plan,
    part: object,
    settings: Iterable[Setting] = (),
    warnings: Iterable[str] = (),
    needs: Needs = NOTHING,
) -> Plan:
    """Return `plan` with what a component decided.

    Args:
        plan: left as it is.
        part: a frozen dataclass of the component's own; `Plan.part` finds it by its class.
        settings: take the place of those with the same path; new ones stand with the rest of their section.
        warnings: come after those that are there.
        needs: come to those that are there.
    """
    rows = {setting.path: setting for setting in (*plan.settings, *settings)}
    sections = {path: order for order, path in reversed(list(enumerate(map(_section, rows))))}
    ordered = sorted(rows.values(), key=lambda setting: sections[_section(setting.path)])
    return replace(
        plan,
        parts=(*plan.parts, part),
        settings=tuple(ordered),
        warnings=(*plan.warnings, *warnings),
        needs=plan.needs.plus(needs),
    )


def _section(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]
