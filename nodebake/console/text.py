"""Results as text: a plan, and what a build left to do."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nodebake.manifest import Manifest
    from nodebake.plan import Plan
    from nodebake.publish import Sent

_NEXT = {
    "apkovl": "copy {node}/{node}.apkovl.tar.gz and what is in {node}/boot/ to the card's FAT partition, "
    "beside the Alpine release; then power on",
    "image": "write {node}/{node}.img to a card, as root and with the same profile: "
    "./invoke flash --node {node} --device /dev/sdX; then power on",
    "qcow2": "give {node}/{node}.qcow2 to the VM as its disk; then boot",
    "seed": "attach {node}/{node}-seed.iso to the VM as a drive, or copy {node}/ to its "
    "/var/lib/cloud/seed/nocloud/; then boot",
    "rootfs": "unpack it over the root file system: tar --zstd -C ROOT -xpf {node}/{node}.rootfs.tar.zst",
}


def plan_as_text(plan: Plan) -> str:
    """Return every decided value and where it came from, as a table."""
    rows = [(setting.path, _short(setting.value), setting.origin) for setting in plan.settings]
    nodes = [(node.name, node.role, ", ".join(node.interfaces)) for node in plan.nodes]
    cluster, board = plan.profile.cluster.name, f"{plan.board.name} ({plan.arch})"
    head = f"{plan.name}: cluster {cluster}, {len(plan.nodes)} nodes on {board}"
    return "\n".join(
        [
            head,
            "",
            *table(("node", "role", "addresses"), nodes),
            "",
            *table(("setting", "value", "from"), rows),
            *(f"\nwarning: {warning}" for warning in plan.warnings),
        ]
    )


def as_json(document: object) -> str:
    """Return `document` for a program, indented for people."""
    return json.dumps(document, indent=2)


def plan_as_json(plan: Plan) -> str:
    """Return the plan for a program."""
    return as_json(plan.to_json())


def built(out: Path, manifest: Manifest) -> str:
    """Return the last lines of a build: where the artefacts are and what to do next."""
    where = shown(out)
    size = sum(item.size for item in manifest.artifacts) / (1 << 20)
    node, artifacts = next(iter(manifest.nodes.items()))
    kinds = [item.kind for item in artifacts]
    # A disk has all the rest in it.
    told = next(([kind] for kind in ("qcow2", "image") if kind in kinds), kinds)
    steps = [f"  {_NEXT[kind].format(node=node)}" for kind in told if kind in _NEXT]
    return "\n".join(
        [
            f"{len(manifest.nodes)} nodes, {len(manifest.artifacts)} files, {size:.1f} MiB in {where}/",
            "next, for each node:",
            *steps,
            f"then: . {shlex.quote(f'{where}/operator/etcdctl.env')}; etcdctl endpoint health --cluster",
        ]
    )


def published(place: str, sent: Sent) -> str:
    """Return what came of publishing: how much there is, and how much of it was sent."""
    if not sent.size:
        return f"{place} has it already: {sent.nodes} nodes, {_mib(sent.whole)}"
    return f"{place}: {sent.nodes} nodes, {_mib(sent.whole)}; sent {_mib(sent.size)}"


def pulled(out: Path, manifest: Manifest, node: str) -> str:
    """Return what was pulled, and where it is."""
    nodes = f"{node} of {manifest.cluster}, as it was" if node else ""
    nodes = nodes or f"{len(manifest.nodes)} nodes of {manifest.cluster}, as they were"
    return f"{shown(out)}/ has {nodes} built"


def shown(path: Path) -> Path:
    """Return a path as the user would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, with a rule below its head."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
