"""A cloud-init NoCloud seed: a directory to serve or copy, and the same as `<node>-seed.iso`.

Everything is on board. `user-data` is small: its bootcmd unpacks `payload.tar.gz`, which lies beside it.
Source: https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.formats.packing import Prefix, Shared, gzip_member, pack
from nodebake.formats.writing import artifact
from nodebake.overlay import render

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.components.contract import Baked
    from nodebake.manifest import Artifact
    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.schema import Network
    from nodebake.tree import Tree

PAYLOAD = "payload.tar.gz"
_SLOT = 4096
_NOTHING = Prefix.of()


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The node's files, as one archive of two parts.

    Attributes:
        prefix: what other nodes have as well.
        own: the node's own member; both together end at a multiple of 4096 bytes, so that images of
            many nodes have the same layout.
        sha256: hexadecimal digest of both.
    """

    prefix: Prefix
    own: bytes
    sha256: str


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
    user = user_data(node, script=script, sha256=payload.sha256, units=enabled_units(baked.root))
    network = network_config(plan, node)
    inside = hashlib.sha256(b"".join((user, network)))
    meta = meta_data(node, instance=inside.hexdigest()[:16])
    texts = {"user-data": user, "meta-data": meta, "network-config": network}
    return (
        *(artifact(name, out / name, text, root=out.parent, epoch=epoch) for name, text in texts.items()),
        artifact("payload", out / PAYLOAD, payload.own, root=out.parent, epoch=epoch, prefix=payload.prefix),
        _image(out / f"{node.name}-seed.iso", payload, tuple(texts.items()), epoch=epoch, shared=shared),
    )


def user_data(node: NodePlan, *, script: str, sha256: str, units: tuple[str, ...]) -> bytes:
    """Return the node's cloud-config.

    Args:
        node: whose.
        script: the POSIX shell script that unpacks the payload.
        sha256: the payload's digest.
        units: what to start once it is unpacked.
    """
    config = {
        "bootcmd": [["sh", "-c", script, "unpack", sha256, *units]],
        "hostname": node.name,
        "fqdn": node.fqdn,
        "preserve_hostname": False,
        "manage_etc_hosts": False,
        # The payload has the host's ed25519 key, which is kept, and root's authorized_keys.
        "ssh_deletekeys": False,
        "ssh_genkeytypes": ["ed25519"],
        "disable_root": False,
        "package_update": False,
        "package_upgrade": False,
        "users": ["default"],
    }
    return b"#cloud-config\n" + _text(config)


def meta_data(node: NodePlan, *, instance: str) -> bytes:
    """Return what makes this seed an instance of its own: `instance` changes when its contents do."""
    return _text({"instance-id": f"{node.name}-{instance}", "local-hostname": node.name})


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
    return render("seed", ("nocloud",), {})["unpack"].content.decode()


def _payload(root: Tree, epoch: int, shared: Shared) -> Payload:
    common, own = root.split()
    prefix = shared.prefix(common, "gzip") if len(common) else _NOTHING
    member = gzip_member(pack(own, epoch), align=_SLOT, after=prefix.size)
    sha256 = prefix.sha256.copy()
    sha256.update(member)
    return Payload(prefix=prefix, own=member, sha256=sha256.hexdigest())


def _image(
    path: Path, payload: Payload, texts: tuple[tuple[str, bytes], ...], *, epoch: int, shared: Shared
) -> Artifact:
    from nodebake.formats.nocloud import iso  # noqa: PLC0415 - pycdlib is slow to import, and few builds need it

    # A text ends with newlines up to whole sectors, so that its length in the directory fits every node.
    padded = [(name, text.ljust(iso.sectors(len(text)), b"\n")) for name, text in texts]
    sizes = ((PAYLOAD, payload.prefix.size + len(payload.own)), *((name, len(text)) for name, text in padded))
    slots = tuple(iso.Slot(name=name, size=size) for name, size in sizes)
    prefix = shared.once(
        ("seed image", payload.prefix, slots),
        lambda: Prefix.of(iso.head(slots, epoch=epoch), *payload.prefix.chunks),
    )
    rest = b"".join((payload.own, *(text for _, text in padded)))
    return artifact("seed", path, rest, root=path.parent.parent, epoch=epoch, prefix=prefix)
