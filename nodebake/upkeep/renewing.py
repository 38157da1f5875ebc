"""New certificates for nodes that run: issued, packed, and laid over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake.pipeline import renewal, result, workshop
from nodebake.pipeline.bakery import requests
from nodebake.pki import same_key
from nodebake.progress import Silent
from nodebake.upkeep.artefacts import OPERATOR
from nodebake.upkeep.rolling import Round

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nodebake.manifest import Artifact
    from nodebake.pipeline import Options
    from nodebake.pipeline.bakery import Bakery
    from nodebake.plan import Plan
    from nodebake.progress import Progress
    from nodebake.upkeep.ssh import Ssh
    from nodebake.vault import LedgerRow, Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What to renew, and what to do with it.

    Attributes:
        within: renew what ends in this many seconds.
        new_keys: make new keys, too.
        push: lays renewals over the nodes; None leaves that to the user.
    """

    within: int
    new_keys: bool = False
    push: Ssh | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """What was done.

    Attributes:
        rows: the certificates issued.
        archives: what is to be brought to the nodes by hand; empty if it was pushed.
        pushed: how many nodes it was pushed to.
    """

    rows: tuple[LedgerRow, ...]
    archives: Mapping[str, Artifact] = field(default_factory=dict)
    pushed: int = 0


def renew(
    plan: Plan, options: Options, wanted: Renewal, *, progress: Progress, ask: Callable[[str], str] | None
) -> Renewed:
    """Renew certificates, and write a renewal for every node that does not have its own yet.

    What an earlier run has issued and not brought to its node is packed and pushed again.

    Args:
        plan: the cluster.
        options: where its vault and artefacts are; with a node, only that one's.
        wanted: what to renew.
        progress: told what happens.
        ask: gets a pass phrase from the user; None where nobody can answer.

    Raises:
        UsageError: the node, the vault or the pass phrase cannot be used.
        InputError: a program could not be had.
        BuildError: something could not be written, or a node did not take its renewal.
    """
    holders = [node.name for node in workshop.nodes(plan, options.node)]
    holders += [] if options.node else [OPERATOR]
    supplies = workshop.supplies(plan, options, Silent())
    with workshop.opened(plan, options, ask) as vault:
        due = [one for one in requests(plan) if one.holder in holders]
        rows = vault.renew(due, within=wanted.within, new_keys=wanted.new_keys, clock=options.epoch)
        oven = workshop.heat(plan, options, vault, supplies)
        pieces = {name: renewal.Pieces() for name in holders}
        archives = bring(oven, vault, pieces, wanted.push, progress, _visibly)
    return Renewed(
        rows=rows, archives={} if wanted.push else archives, pushed=len(archives) if wanted.push else 0
    )


def bring(
    oven: Bakery,
    vault: Vault,
    nodes: Mapping[str, renewal.Pieces],
    push: Ssh | None,
    progress: Progress,
    lay: Callable[[Round, Mapping[str, Artifact]], None] = Round.lay,
) -> Mapping[str, Artifact]:
    """Write these nodes' renewals, see `write`, and with `push` have them laid over the nodes; return them.

    Raises:
        SafetyError, BuildError: see `Round`.
    """
    archives = write(oven, vault, nodes)
    if push:
        lay(Round(oven=oven, vault=vault, ssh=push, progress=progress), archives)
    return archives


def write(oven: Bakery, vault: Vault, nodes: Mapping[str, renewal.Pieces]) -> Mapping[str, Artifact]:
    """Write these nodes' renewals and the operator's files; note in ledger and manifest where they are.

    Args:
        oven: bakes the nodes.
        vault: knows what was issued.
        nodes: what is new on each, besides certificates that are on their way to it anyway.
    """
    due = pending(vault.ledger())
    pieces = {name: one | due.get(name, renewal.Pieces()) for name, one in nodes.items()}
    archives, operator = renewal.write(oven, pieces), oven.operator()
    noted = {
        (name, leaf): archives[name].path
        for name, one in pieces.items()
        if name in archives
        for leaf in one.certificates
    }
    vault.record(noted | oven.desk_holders())
    result.amend(oven.out, archives, operator)
    return archives


def _visibly(one: Round, archives: Mapping[str, Artifact]) -> None:
    one.lay(archives, one.presents)


def pending(rows: Iterable[LedgerRow]) -> dict[str, renewal.Pieces]:
    """Return what of each node's certificates was issued again, and is not known to be on the node.

    A key goes along unless the certificate that was there before is for the same one: that is the last
    one known to be on the node, or else the first.
    """
    histories: dict[tuple[str, str], list[LedgerRow]] = {}
    for row in rows:
        histories.setdefault(row.key, []).append(row)
    found: dict[str, dict[str, bool]] = {}
    for (holder, name), (*before, current) in histories.items():
        if before and not current.card and not current.revoked and holder != OPERATOR:
            there = next((row for row in reversed(before) if row.card), before[0])
            same = same_key(there.certificate.encode(), current.certificate.encode())
            found.setdefault(holder, {})[name] = not same
    return {
        holder: renewal.Pieces(
            certificates=frozenset(names), keys=frozenset(name for name, new in names.items() if new)
        )
        for holder, names in found.items()
    }
