"""The nouns of this component: what is decided about the operating system for a whole cluster."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_UID = 1500  # above what Debian's and Alpine's own tools give to people


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person's account; the same number on all nodes."""

    name: str
    uid: int
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePart:
    """Everything about the operating system that is the same on all nodes.

    Attributes:
        hosts: lines of /etc/hosts: every name of every node, and the shared names at every member.
        services: OpenRC services by runlevel; none for systemd.
        packages: what apk installs from the boot medium; none for Debian.
        modules: kernel modules to load.
        sysctl: kernel settings.
        accounts: people besides root.
        grown: whether the nodes make and grow the data partition on the disk that they start from.
        variants: which parts of `overlays/base` apply.
    """

    hosts: tuple[str, ...]
    services: dict[str, tuple[str, ...]]
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    sysctl: dict[str, int | str]
    accounts: tuple[Account, ...]
    grown: bool
    variants: tuple[str, ...]
