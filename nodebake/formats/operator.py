"""The operator's files, `operator/`: what it takes to talk to the cluster from a desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.formats.writing import artifact, private
from nodebake.overlay import render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.manifest import Artifact
    from nodebake.pki import HostKey, Leaf
    from nodebake.plan import Plan

DIRECTORY = "operator"


def write(
    plan: Plan, leaf: Leaf, trust: bytes, host_keys: Mapping[str, HostKey], *, out: Path, epoch: int
) -> tuple[Artifact, ...]:
    """Write the authority's certificate, the operator's leaf, etcdctl's environment and known hosts.

    Args:
        plan: the cluster.
        leaf: the operator's client certificate and key.
        trust: the authority's certificate, PEM.
        host_keys: SSH host keys by node name.
        out: the build's directory.
        epoch: the files' modification time, seconds since 1970.

    Raises:
        BuildError: writing failed.
    """
    files = {
        "ca.crt": trust,
        "admin.crt": leaf.certificate,
        "admin.key": leaf.key,
        "etcdctl.env": _environment(plan),
        "known_hosts": known_hosts(plan, host_keys),
    }
    directory = private(out / DIRECTORY)
    return tuple(
        artifact("operator", directory / name, content, root=out, epoch=epoch)
        for name, content in files.items()
    )


def known_hosts(plan: Plan, host_keys: Mapping[str, HostKey]) -> bytes:
    """Return a line per node with all its names and addresses, as sshd(8) defines it."""
    lines = []
    for node in plan.nodes:
        names = dict.fromkeys((node.name, *node.dns, *node.ips))  # in order, each once
        lines.append(b"%s %s\n" % (",".join(names).encode(), host_keys[node.name].public.strip()))
    return b"".join(lines)


def _environment(plan: Plan) -> bytes:
    port = plan.profile.etcd.client_port
    values = {
        "endpoints": ",".join(f"https://{node.url_host}:{port}" for node in plan.members),
        "home": f"build/{plan.name}/{DIRECTORY}",
    }
    return render("operator", ("desk",), values)["etcdctl.env"].content
