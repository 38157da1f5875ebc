"""The nouns of this component: what is decided about k3s for a whole cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from nodebake.profile.types import Scalar

Role = Literal["server", "agent"]

CONFIG = "/etc/rancher/k3s/config.yaml"
API_PORT = 6443
TLS = "/etc/rancher/k3s/tls"
"""Where the authorities lie until a server's first start, which moves copies to where k3s looks."""
CERT, KEY = "/etc/rancher/k3s/datastore.crt", "/etc/rancher/k3s/datastore.key"
PASSWORD = "/etc/rancher/node/password"  # noqa: S105 - a path
LEAF = "k3s"
TOKEN = "k3s token"  # noqa: S105 - what it is derived for


@dataclass(frozen=True, slots=True, kw_only=True)
class K3sPart:
    """Everything about k3s that is the same on all nodes.

    Attributes:
        version: as in `sources.lock`.
        roles: by node name.
        names: what stands for any server, in its certificate and in every node's hosts file.
        data_dir: absolute path.
        data_mount: mount point that must be mounted before k3s starts, or empty.
        airgap: whether images are baked in.
        in_memory: the root file system is memory, so nothing may grow there.
        settings: the user's further settings, checked.
    """

    version: str
    roles: dict[str, Role]
    names: tuple[str, ...]
    data_dir: str
    data_mount: str
    airgap: bool
    in_memory: bool
    settings: dict[str, tuple[Scalar, ...]]

    def named(self, role: Role) -> tuple[str, ...]:
        """Return the names of the nodes with this role."""
        return tuple(name for name, own in self.roles.items() if own == role)

    def service(self, name: str) -> str:
        """Return what a node's service is called, as by k3s's installer."""
        return "k3s" if self.roles[name] == "server" else "k3s-agent"
