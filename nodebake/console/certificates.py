"""The ledger as a table."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from nodebake.console.text import as_json, shown, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from nodebake.manifest import Artifact
    from nodebake.plan import Plan
    from nodebake.upkeep import Renewed, Replaced, Revoked, Rotated, Standing

_SERIAL = 12  # digits; the whole one is in the JSON
_HEAD = ("days", "until", "who", "for", "serial", "artefact", "on", "")


def certificates_as_text(rows: Sequence[Standing], complaints: Sequence[str]) -> str:
    """Return a line per certificate, and what else is wrong."""
    cells = [
        (
            str(row.days),
            row.not_after[:10],
            row.holder,
            row.name,
            row.serial[:_SERIAL],
            row.artifact or "-",
            row.card or "-",
            "; ".join(([] if row.state == "current" else [row.state]) + list(row.complaints)),
        )
        for row in rows
    ]
    return "\n".join([*table(_HEAD, cells), *complaints])


def certificates_as_json(rows: Sequence[Standing], complaints: Sequence[str]) -> str:
    """Return the same for a program."""
    return as_json({"certificates": [row.to_json() for row in rows], "complaints": list(complaints)})


def renewed_as_text(plan: Plan, out: Path, done: Renewed) -> str:
    """Return what was renewed, and how what is left comes to the nodes."""
    head = f"{len(done.rows)} certificates renewed; pushed to {done.pushed} nodes"
    return "\n".join([head, *by_hand(plan, out, done.archives)])


def revoked_as_text(plan: Plan, out: Path, done: Revoked) -> str:
    """Return what was revoked, and how the members come to know."""
    head = f"{len(done.rows)} certificates revoked; the list is pushed to {done.pushed} members"
    note = "who is connected stays so until etcd is restarted there" if done.rows else ""
    return "\n".join(filter(None, [head, *by_hand(plan, out, done.archives), note]))


def replaced_as_text(plan: Plan, out: Path, done: Replaced) -> str:
    """Return what was done about a dead member, and the exact commands for the rest."""
    if done.back:
        return f"{done.node} is back: the cluster takes requests through it"
    again = "it is being replaced already; nothing more was revoked (--again begins anew)"
    lines = [
        f"{done.node}: {'its certificates are revoked, new ones issued' if done.begun else again}",
        *by_hand(plan, out, done.archives),
        *(["the cluster expects it"] if done.listed else _member_commands(out, done)),
        f"install {shown(out / done.node)} on the new machine, with an empty data partition, and start it",
        f"in the end: ./invoke replace --profile {plan.name} --node {done.node} --live",
    ]
    return "\n".join(lines)


def _member_commands(out: Path, done: Replaced) -> Iterator[str]:
    yield "tell the cluster (or add --live):"
    yield f"  . {shlex.quote(str(shown(out / 'operator/etcdctl.env')))}"
    yield f"  etcdctl member list | grep -F {shlex.quote(done.peer_url)}    # its id is the first word"
    yield "  etcdctl member remove ID"
    yield "  # for some seconds the next one says that the cluster is unhealthy: repeat it"
    yield f"  etcdctl member add {done.node} --peer-urls={done.peer_url}"


def rotated_as_text(plan: Plan, out: Path, done: Rotated) -> str:
    """Return how far a change of the authority has come, and what is to be done next."""
    if not done.step:
        return "the authority is changed: the former one is trusted no more, and forgotten"
    if not done.missing:
        return f"every node has step {done.step}; run the same again for the next one"
    return "\n".join(
        [
            f"step {done.step}: not known to be on {', '.join(done.missing)}",
            *by_hand(plan, out, done.archives),
            "steps trust and drop restart etcd: wait for etcdctl endpoint health before the next node",
            "then say that a node has it, --confirm NODE, or have them all asked: --live",
        ]
    )


def by_hand(plan: Plan, out: Path, archives: Mapping[str, Artifact]) -> Iterator[str]:
    """Yield the commands that lay archives over their nodes."""
    from nodebake.upkeep import APPLY  # noqa: PLC0415 - loads every room

    if archives:
        yield "for each node, one after the other (or add --push):"
    for name, one in archives.items():
        archive = shlex.quote(str(shown(out / one.path)))
        hosts = shlex.quote(str(shown(out / "operator/known_hosts")))
        yield f"  ssh -o UserKnownHostsFile={hosts} root@{plan.node(name).ip} {shlex.quote(APPLY)} <{archive}"
