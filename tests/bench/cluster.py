"""Clusters of any size to measure with: a profile for us, skeletons for the hand-made way."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nodebake import command

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["apkovl", "nocloud"]
MEMBERS = 3
BASES: dict[Kind, str] = {"apkovl": "pi3", "nocloud": "vm"}
_NETWORK = ipaddress.ip_network("10.77.0.0/22")
_FIRST = 11
LARGEST_TEXT = 1 << 16
# Lines that name every member keep doing so.
_COMMON = ("initial-cluster:", "export ETCDCTL_ENDPOINTS=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A generated cluster: three members, and clients up to `size`."""

    kind: Kind
    size: int

    @property
    def nodes(self) -> list[tuple[str, str, str]]:
        """Name, address and role of every node."""
        return [
            (f"node-{number:03}", str(_NETWORK[_FIRST + number]), "member" if number < MEMBERS else "client")
            for number in range(self.size)
        ]

    def profile(self, directory: Path) -> Path:
        """Write the profile and return its path."""
        nodes = [
            {"name": name, "address": f"{address}/{_NETWORK.prefixlen}", "role": role}
            for name, address, role in self.nodes
        ]
        path = directory / f"{self.kind}-{self.size}.yaml"
        own = {"extends": BASES[self.kind], "network": {"gateway": [], "nameservers": []}, "nodes": nodes}
        path.write_text(json.dumps(own, indent=1))
        return path

    def listing(self, directory: Path) -> Path:
        """Write the nodes as lines for the hand-made way and return the file's path."""
        path = directory / f"{self.kind}-{self.size}.nodes"
        path.write_text("".join(f"{' '.join(node)}\n" for node in self.nodes))
        return path


def skeletons(cluster: Cluster, built: Path, to: Path, *, most: int | None = None) -> Path:
    """Take one built member and one client apart into what the hand-made way starts from.

    So both ways pack the same binaries and the same static files; the node's own texts become templates
    for envsubst, and its certificates and host key are left for cfssl and ssh-keygen.

    Args:
        cluster: what was built; it has at least one client.
        built: the build's directory.
        to: a directory to write.
        most: leave larger files out, in bytes.
    """
    for role in ("member", "client"):
        name, address, _ = next(node for node in cluster.nodes if node[2] == role)
        root = to / role / "root"
        root.mkdir(parents=True)
        for archive in sorted((built / name).glob("*.tar.gz")):
            command.run(["tar", "-C", root, "--no-same-owner", "-xzf", archive])
        for path in root.rglob("*"):
            if most is not None and path.is_file() and path.stat().st_size > most:
                path.unlink()
        pki = root / "etc/etcd/pki"
        leaves = sorted(path.stem for path in pki.glob("*.key"))
        (to / role / "leaves.txt").write_text("".join(f"{leaf}\n" for leaf in leaves))
        texts = _templates(root, name, address, to / role / "templates")
        (to / role / "templates.txt").write_text("".join(f"{text}\n" for text in texts))
    if cluster.kind == "nocloud":
        name, address, _ = cluster.nodes[0]
        told = (built / name / "network-config").read_text()
        (to / "network-config").write_text(told.replace(address, "${ADDRESS}"))
    return to


def _templates(root: Path, name: str, address: str, to: Path) -> list[str]:
    found = []
    for path in sorted(root.rglob("*")):
        own = path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST_TEXT
        if not own or path.parent.name in {"pki", "ssh"} or path.name == "hosts":
            continue
        text = path.read_text()
        template = "".join(_template(line, name, address) for line in text.splitlines(keepends=True))
        if template != text:
            target = to / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(template)
            found.append(str(path.relative_to(root)))
    return found


def _template(line: str, name: str, address: str) -> str:
    if line.startswith(_COMMON):
        return line
    return line.replace(name, "${NAME}").replace(address, "${ADDRESS}")
