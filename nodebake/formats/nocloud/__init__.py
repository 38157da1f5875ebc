"""A cloud-init NoCloud seed: a directory to serve or copy, and the same as `<node>-seed.iso`.

Everything is on board. `user-data` is small: its bootcmd unpacks `shared.tar.gz`, which many nodes have, and
`node.tar.gz`, the node's own; both lie beside it.
Source: https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.formats.packing import Prefix, Shared, gzip_member, pack
from nodebake.formats.writing import artifact, twin
from nodebake.overlay import render
from nodebake.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nodebake.components.contract import Baked
    from nodebake.manifest import Artifact
    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.schema import Network

SHARED, OWN = "shared.tar.gz", "node.tar.gz"
_SLOT = 4096
# All that is left for cloud-init's modules to do: the payload has accounts, keys and settings. Network and
# etcd wait for the first stage: what can be later is in the second. The name is set before any module runs.
_MODULES = {
    "cloud_init_modules": ["bootcmd"],
    "cloud_config_modules": ["set_hostname", "growpart", "resizefs"],
    "cloud_final_modules": ["final_message"],
}
_END = pack(Tree({}), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The node's files, as two archives.

    Attributes:
        shared: what other nodes have as well.
        own: all the rest; as long as a multiple of 4096 bytes, so that images of many nodes have the same
            layout.
    """

    shared: Prefix
    own: bytes

    @property
    def digests(self) -> tuple[str, str]:
        """The hexadecimal digests of both."""
        return self.shared.sha256.hexdigest(), hashlib.sha256(self.own).hexdigest()


def write(
    plan: Plan,
    node: NodePlan,
    baked: Baked,
    *,
    out: Path,
    epoch: int,
    shared: Shared,
) -> tuple[Artifact, ...]:
    """Write the node's seed, as files and as an image; the arguments are those of `apkovl.write`.

    Raises:
        BuildError: writing failed.
    """
    payload = _payload(baked.root, epoch, shared)
    script = shared.once("nocloud script", _script)
    user = user_data(node, script=script, digests=payload.digests, units=enabled_units(baked.root))
    network = network_config(plan, node)
    inside = hashlib.sha256(b"".join((user, network)))
    meta = meta_data(node, instance=inside.hexdigest()[:16])
    texts = {"user-data": user, "meta-data": meta, "network-config": network}
    return (
        *(artifact(name, out / name, text, root=out.parent, epoch=epoch) for name, text in texts.items()),
        _shared(out / SHARED, payload.shared, epoch=epoch, shared=shared),
        artifact("payload", out / OWN, payload.own, root=out.parent, epoch=epoch),
        _image(out / f"{node.name}-seed.iso", payload, tuple(texts.items()), epoch=epoch, shared=shared),
    )


def user_data(node: NodePlan, *, script: str, digests: tuple[str, str], units: tuple[str, ...]) -> bytes:
    """Return the node's cloud-config.

    Args:
        node: whose.
        script: the POSIX shell script that unpacks the payload.
        digests: the payload's, shared archive first.
        units: what to start once it is unpacked.
    """
    config = {
        "bootcmd": [["sh", "-c", script, "unpack", *digests, *units]],
        "hostname": node.name,
        "fqdn": node.fqdn,
        "preserve_hostname": False,
        **_MODULES,
    }
    return b"#cloud-config\n" + _text(config)


def meta_data(node: NodePlan, *, instance: str) -> bytes:
    """Return what makes this seed an instance of its own: `instance` changes when its contents do.

    `dsmode`: everything is on board, so cloud-init need not wait for a network before its first step.
    """
    return _text({"instance-id": f"{node.name}-{instance}", "local-hostname": node.name, "dsmode": "local"})


def network_config(plan: Plan, node: NodePlan) -> bytes:
    """Return the node's addresses as network configuration version 2.

    Default routes are written as 0.0.0.0/0 and ::/0: cloud-init's own renderers do not know `default`.
    """
    network = plan.profile.network
    interface: dict[str, object] = {"dhcp4": False, "dhcp6": False, "addresses": list(node.interfaces)}
    if any(sign in network.interface for sign in "*?"):
        interface["match"] = {"name": network.interface}
    interface |= {key: value for key, value in _beyond(network, plan.profile.cluster.domain).items() if value}
    name = "cluster" if "match" in interface else network.interface
    return _text({"version": 2, "ethernets": {name: interface}})


def enabled_units(root: Tree) -> tuple[str, ...]:
    """Return the systemd units that are enabled in `root` by links into a target's `.wants`, sorted."""
    links = (path.split("/") for path in root if path.startswith("etc/systemd/system/"))
    return tuple(sorted({parts[4] for parts in links if len(parts) == 5 and parts[3].endswith(".wants")}))  # noqa: PLR2004 - etc/systemd/system/X.wants/UNIT


def _beyond(network: Network, domain: str | None) -> dict[str, object]:
    routes = [
        {"to": "0.0.0.0/0" if gateway.version == 4 else "::/0", "via": str(gateway)}  # noqa: PLR2004 - IPv4
        for gateway in network.gateway
    ]
    addresses = [str(server) for server in network.nameservers]
    servers = {"addresses": addresses, **({"search": [domain]} if domain else {})} if addresses else {}
    return {"routes": routes, "nameservers": servers}


def _text(document: object) -> bytes:
    """Return `document` as YAML, which JSON is; ASCII only."""
    return json.dumps(document, indent=2).encode() + b"\n"


def _script() -> str:
    """Return the script without comments and indents: cloud-init reads user-data often, and slowly."""
    lines = map(str.lstrip, render("seed", ("nocloud",), {})["unpack"].content.decode().splitlines())
    return "".join(f"{line}\n" for line in lines if not line.startswith("#"))


def _payload(root: Tree, epoch: int, shared: Shared) -> Payload:
    common, own = root.split()
    prefix = shared.prefix(common, "gzip")
    whole = shared.once(("nocloud archive", prefix), lambda: prefix.then(gzip_member(_END)))
    return Payload(shared=whole, own=gzip_member(pack(own, epoch), align=_SLOT))


def _shared(path: Path, archive: Prefix, *, epoch: int, shared: Shared) -> Artifact:
    """Write the shared archive at the first node that has it; at the others it is the same file."""
    root = path.parent.parent
    first = shared.once(
        ("nocloud shared", root, archive),
        lambda: artifact("payload", path, b"", root=root, epoch=epoch, prefix=archive),
    )
    return twin(first, path, archive.chunks, root=root, epoch=epoch)


def _image(
    path: Path, payload: Payload, texts: tuple[tuple[str, bytes], ...], *, epoch: int, shared: Shared
) -> Artifact:
    from nodebake.formats.nocloud import iso  # noqa: PLC0415 - pycdlib is slow to import, and few builds need it

    # A text ends with newlines up to whole sectors, so that its length in the directory fits every node.
    padded = [(name, text.ljust(iso.sectors(len(text)), b"\n")) for name, text in texts]
    sizes = (
        (SHARED, payload.shared.size),
        (OWN, len(payload.own)),
        *((name, len(text)) for name, text in padded),
    )
    slots = tuple(iso.Slot(name=name, size=size) for name, size in sizes)
    fill = bytes(-payload.shared.size % iso.SECTOR)
    prefix = shared.once(
        ("seed image", payload.shared, slots),
        lambda: _headed(iso.head(slots, epoch=epoch), payload.shared, fill),
    )
    rest = b"".join((payload.own, *(text for _, text in padded)))
    return artifact("seed", path, rest, root=path.parent.parent, epoch=epoch, prefix=prefix)


def _headed(head: Iterable[bytes], shared: Prefix, fill: bytes) -> Prefix:
    """Return what an image begins with: its head, the shared archive, and what fills the last sector."""
    before = tuple(head)
    closed = (len(before) + index for index in shared.closed)
    return Prefix.of(*before, *shared.chunks, fill, closed=closed)
