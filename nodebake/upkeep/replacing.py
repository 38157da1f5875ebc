"""A new machine in the place of a dead member, under the same name and address."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nodebake import pipeline
from nodebake.components.etcd import EtcdPart
from nodebake.errors import BuildError, InputError, SafetyError, UsageError
from nodebake.pipeline import renewal, workshop
from nodebake.progress import Silent
from nodebake.upkeep import renewing
from nodebake.upkeep.etcdctl import etcdctl

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from nodebake.manifest import Artifact
    from nodebake.pipeline import Options
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress
    from nodebake.upkeep.etcdctl import Etcdctl
    from nodebake.upkeep.membership import Member
    from nodebake.upkeep.ssh import Ssh
    from nodebake.vault import Vault

LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What to do.

    Attributes:
        node: the dead member.
        live: tell the running cluster, too; otherwise the user does.
        again: begin anew with one that is being replaced already.
        push: lays the list of revoked certificates over the other members; None leaves that to the user.
    """

    node: str
    live: bool = False
    again: bool = False
    push: Ssh | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """What was done.

    Attributes:
        node: the member.
        peer_url: where other members find it, for commands by hand.
        back: it has joined, and nothing is left to do.
        listed: the cluster expects it.
        begun: its old certificates were revoked by this run.
        archives: the list of revoked certificates for the other members, to be brought there by hand.
    """

    node: str
    peer_url: str = ""
    back: bool = False
    listed: bool = False
    begun: bool = False
    archives: Mapping[str, Artifact] = field(default_factory=dict)


def exchange(
    plan: Plan,
    options: Options,
    wanted: Replacement,
    *,
    progress: Progress,
    ask: Callable[[str], str] | None,
) -> Replaced:
    """Revoke a dead member's certificates, build its successor and, with `live`, tell the cluster.

    Run again, it goes on where it was: what is revoked is not revoked twice.

    Raises:
        SafetyError: the member is healthy, or the others would have no quorum, or its successor has joined
            already; nothing is changed.
        UsageError: there is no such member, or the vault or the pass phrase cannot be used.
        InputError: a program could not be had.
        BuildError: something could not be written, or the cluster did not do what it was told.
    """
    node = _member(plan, wanted.node)
    ctl = etcdctl(plan, options) if wanted.live else None
    healthy = ctl.healthy() if ctl else _seen(plan, options)
    with workshop.opened(plan, options, ask) as vault:
        under_way = _under_way(vault, node) and not wanted.again
        if node.name in healthy:
            return _back(vault, node, under_way=under_way)
        old = _leaving(ctl, node, healthy) if ctl else None
        if not under_way:
            vault.revoke(node.name)
            vault.join(node.name, old.id if old else "")
        elif old and old.id != vault.founding.leaving[node.name]:
            raise _joined(node, old)
    pipeline.build(plan, options=replace(options, node="", stamp=None), progress=progress, ask=ask)
    with workshop.opened(plan, options, ask) as vault:
        oven = workshop.heat(plan, options, vault, workshop.supplies(plan, options, Silent()))
        others = [member.name for member in plan.members if member is not node]
        pieces = {name: renewal.Pieces(revocations=True) for name in others}
        archives = renewing.bring(oven, vault, pieces, wanted.push, progress)
    if ctl:
        _exchange(ctl, node, progress)
    return Replaced(
        node=node.name,
        peer_url=plan.part(EtcdPart).peer_url(node),
        begun=not under_way,
        listed=ctl is not None,
        archives={} if wanted.push else archives,
    )


def _seen(plan: Plan, options: Options) -> tuple[str, ...]:
    """Return the members that are healthy, as far as can be seen from here."""
    try:
        return etcdctl(plan, options).healthy()
    except (InputError, BuildError):
        return ()


def _member(plan: Plan, name: str) -> NodePlan:
    node = workshop.nodes(plan, name)[0] if name else None
    if node is None or node.role != "member":
        names = ", ".join(member.name for member in plan.members)
        raise UsageError(
            f"{name or 'no node'} is no member of the cluster",
            hint=f"name one of {names}; a client only needs a new artefact: certs.revoke --node, build",
        )
    if len(plan.members) == 1:
        raise SafetyError(
            f"{name} is the only member: there is no cluster that a new one could join",
            hint="take a backup back, or found a new cluster with a new vault",
        )
    return node


def _under_way(vault: Vault, node: NodePlan) -> bool:
    """Say whether it is being replaced already: no certificate since then is known to be on a node."""
    since = vault.founding.joining.get(node.name)
    rows = [row for row in vault.ledger() if row.holder == node.name and not row.revoked]
    return since is not None and all(not row.card for row in rows)


def _back(vault: Vault, node: NodePlan, *, under_way: bool) -> Replaced:
    if not under_way:
        raise SafetyError(
            f"{node.name} is healthy, and a healthy member is not replaced",
            hint="for new certificates: ./invoke certs.renew; to replace it all the same, stop it first",
        )
    vault.place([node.name], LIVE)
    return Replaced(node=node.name, back=True)


def _leaving(ctl: Etcdctl, node: NodePlan, healthy: Collection[str]) -> Member | None:
    """Return the member that has to leave; see that the others can decide without it, and with a new one."""
    voters = [member for member in ctl.members() if not member.learner]
    there = next((member for member in voters if ctl.peer_url(node) in member.peer_urls), None)
    needed = (len(voters) + (there is None)) // 2 + 1
    if len(healthy) < needed:
        raise SafetyError(
            f"only {', '.join(healthy) or 'nobody'} is healthy, and {needed} must be to replace {node.name}",
            hint="bring another member back first",
        )
    return there if there and there.started else None


def _joined(node: NodePlan, member: Member) -> SafetyError:
    """Say that there is a member in the place of `node` that is not known to be the old one."""
    return SafetyError(
        f"{node.name} is being replaced, and the cluster has {member.id} in its place, which has been "
        f"started and is not healthy now",
        hint=f"if that is the successor, look at etcd's log there, or begin anew with --again; if it is the "
        f"old one: etcdctl member remove {member.id}, and run the same again",
    )


def _exchange(ctl: Etcdctl, node: NodePlan, progress: Progress) -> None:
    """Have the cluster expect a new member in the place of the old one; what is done already is left."""
    found = _listed(ctl, node)
    if found and found.started:
        old = found.id
        ctl.change(["member", "remove", old], lambda: all(one.id != old for one in ctl.members()))
        progress.note(f"the cluster has let go of {node.name}, {found.id}")
        found = None
    if found is None:
        words = ["member", "add", node.name, f"--peer-urls={ctl.peer_url(node)}"]
        ctl.change(words, lambda: _listed(ctl, node) is not None)
        progress.note(f"the cluster expects {node.name} at {ctl.peer_url(node)}")


def _listed(ctl: Etcdctl, node: NodePlan) -> Member | None:
    return next((one for one in ctl.members() if ctl.peer_url(node) in one.peer_urls), None)
