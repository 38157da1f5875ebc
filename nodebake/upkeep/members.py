"""A running cluster's members made those of the profile: added as learners, promoted, moved, removed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nodebake import pipeline
from nodebake.components import chosen
from nodebake.components.etcd import EtcdPart
from nodebake.errors import ProfileError, SafetyError
from nodebake.pipeline import outline, renewal, workshop
from nodebake.progress import Silent
from nodebake.upkeep import renewing
from nodebake.upkeep.artefacts import OPERATOR
from nodebake.upkeep.etcdctl import etcdctl
from nodebake.upkeep.membership import check_quorum, seats, steps, voters
from nodebake.upkeep.presented import presented
from nodebake.upkeep.replacing import LIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nodebake.manifest import Artifact
    from nodebake.pipeline import Options
    from nodebake.pipeline.bakery import Bakery
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress
    from nodebake.upkeep.etcdctl import Etcdctl
    from nodebake.upkeep.membership import Member, Step
    from nodebake.upkeep.ssh import Ssh
    from nodebake.vault import Vault

_COMING = 60  # seconds for a machine that may be on already
_PAUSE = 1
_MAJOR_MINOR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """What to do.

    Attributes:
        live: change the running cluster; otherwise the user does.
        push: lays what the other members need to know over them; None leaves that to the user.
    """

    live: bool = False
    push: Ssh | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """What was done.

    Attributes:
        plan: what was baked: the profile's, with those who have yet to leave where filters must let them in.
        done: steps that the cluster has taken in this run.
        left: steps that are left, the next one first.
        through: a URL that takes requests, for commands by hand.
        archives: what the other members need to know, to be brought there by hand.
    """

    plan: Plan
    done: tuple[Step, ...] = ()
    left: tuple[Step, ...] = ()
    through: str = ""
    archives: Mapping[str, Artifact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What the whole way needs."""

    plan: Plan
    options: Options
    wanted: Adjustment
    ctl: Etcdctl
    progress: Progress
    ask: Callable[[str], str] | None

    def left(self, members: Sequence[Member]) -> tuple[Step, ...]:
        """Return what separates the cluster, which has these members, from the profile."""
        unknown = [node.name for node in self.plan.nodes] if self.plan.profile.etcd.auth else []
        users = self.ctl.users(list(voters(members))) if unknown else frozenset()
        return steps(seats(self.plan), members, [name for name in unknown if name not in users])


def adjust(
    plan: Plan,
    options: Options,
    wanted: Adjustment,
    *,
    progress: Progress,
    ask: Callable[[str], str] | None,
) -> Adjusted:
    """Compare the profile with the running cluster, and make its members those of the profile.

    Without `live` the cluster is only asked: artefacts are built, and what is left is returned. Run again,
    it goes on where it was.

    Raises:
        SafetyError: no quorum answers or one would be lost, or a member would change its name or release.
        UsageError: the vault or the pass phrase cannot be used.
        InputError: a program could not be had.
        BuildError: something could not be written, or the cluster did not do what it was told.
    """
    ctl = etcdctl(plan, options)
    work = _Work(plan=plan, options=options, wanted=wanted, ctl=ctl, progress=progress, ask=ask)
    members = ctl.members()
    left = work.left(members)
    _check_release(work, members)
    if left and left[0].kind != "start":
        check_quorum(left[0], members, ctl.able(members))
    # Where some only leave, the others need not hear of it before.
    leaving = wanted.live and bool(left) and all(step.kind == "remove" for step in left)
    archives = {} if leaving else _prepare(work, members, left)
    done: tuple[Step, ...] = ()
    if wanted.live:
        done, left = _carry_out(work)
        members = ctl.members()
        if leaving or any(step.kind == "remove" for step in done):
            archives = _prepare(work, members, left)
        _note_seen(work, members)
    through = next(iter(ctl.through([url for member in members for url in member.client_urls])), "")
    return Adjusted(
        plan=_meanwhile(plan, members, left),
        done=done,
        left=left,
        through=through,
        archives={} if wanted.push else archives,
    )


def _check_release(work: _Work, members: Sequence[Member]) -> None:
    """See that a changed release does not come along by the way."""
    part = work.plan.part(EtcdPart)
    wanted = part.version.split(".")[:_MAJOR_MINOR]
    for status in work.ctl.statuses(list(voters(members))).values():
        if status.version.split(".")[:_MAJOR_MINOR] != wanted:
            raise SafetyError(
                f"the cluster runs etcd {status.version}, and the profile asks for {part.version}",
                hint="one after the other: the old version in the profile for now, and ./invoke upgrade "
                "when the members are there",
            )


def _meanwhile(plan: Plan, members: Sequence[Member], left: Sequence[Step]) -> Plan:
    """Return what is baked until those have left who leave: so long every packet filter has to let them in.

    And theirs has to let in who comes, for one of them may lead.

    Raises:
        SafetyError: there can be no such plan.
    """
    going = {step.id for step in left if step.kind == "remove"}
    leavers = [member for member in members if member.id in going and member.started]
    if plan.profile.firewall is None or not leavers:
        return plan
    width = ip_interface(plan.members[0].interfaces[0]).network.prefixlen
    try:
        return pipeline.with_members(
            plan, {member.name: f"{urlsplit(member.peer_urls[0]).hostname}/{width}" for member in leavers}
        )
    except (ProfileError, ValueError) as error:
        raise SafetyError(
            f"no packet filter lets in both who comes and who leaves: {error}",
            hint="two changes of the profile: first have the new members come, then the others leave",
        ) from error


def _prepare(work: _Work, members: Sequence[Member], left: Sequence[Step]) -> Mapping[str, Artifact]:
    """Build what the new members start from, and tell those that run whom they are with now."""
    plan, options = _meanwhile(work.plan, members, left), work.options
    begun = {member.peer_urls[0] for member in members if member.started}
    new = [step.name for step in left if step.kind in {"add", "start"} and step.peer_url not in begun]
    with workshop.opened(plan, options, work.ask) as vault:
        for name in new:
            if name not in vault.founding.joining:
                vault.join(name)
        vault.give(outline.digest(plan, workshop.users(plan)), running=True)
        if work.wanted.live:
            _revoke_leavers(vault, work, members)
    told = replace(options, node="", stamp=None)
    pipeline.build(plan, options=told, progress=work.progress, ask=work.ask)
    # Who leaves has to know who comes, but may be dead already.
    able = work.ctl.able(members)
    away = {
        step.name for step in left if step.kind != "user" and not (step.kind == "remove" and step.id in able)
    }
    with workshop.opened(plan, options, work.ask) as vault:
        oven = workshop.heat(plan, options, vault, workshop.supplies(plan, options, Silent()))
        pieces = {node.name: _company(oven, node) for node in plan.members if node.name not in away}
        return renewing.bring(oven, vault, pieces, work.wanted.push, work.progress)


def _company(oven: Bakery, node: NodePlan) -> renewal.Pieces:
    """Return what tells a node of the others; etcd itself has been told by the cluster."""
    plan = oven.plan
    services = [name for one in chosen(plan) for name in one.services(plan, node) if name != "etcd"]
    return renewal.Pieces(company=True, revocations=True, restart=tuple(services))


def _revoke_leavers(vault: Vault, work: _Work, members: Sequence[Member]) -> None:
    """Revoke what was issued to nodes that neither the profile nor the cluster has any more."""
    here = {OPERATOR, *(node.name for node in work.plan.nodes), *(member.name for member in members)}
    gone = {row.holder for row in vault.ledger() if not row.revoked} - here
    for holder in sorted(gone):
        if vault.revoke(holder):
            work.progress.note(f"{holder} has left: its certificates are revoked")


def _carry_out(work: _Work) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Take step after step; return those taken, and those left when a machine is not there yet."""
    done: list[Step] = []
    while True:
        members = work.ctl.members()
        left = work.left(members)
        if not left or (left[0].kind == "start" and not _comes(work, left[0])):
            return tuple(done), left
        if left[0].kind != "start":
            _take(work, left[0], members)
            done.append(left[0])


def _comes(work: _Work, step: Step) -> bool:
    """Wait a while for a machine; it may be on, and have waited for the cluster to expect it."""
    work.progress.note(f"waiting for {step.name} to start with its new artefact")
    end = time.monotonic() + _COMING
    while step in work.left(work.ctl.members()):
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE)
    return True


def _take(work: _Work, step: Step, members: Sequence[Member]) -> None:
    """Have the cluster take a step, through the others if it is about a member."""
    ctl = work.ctl
    check_quorum(step, members, ctl.able(members))
    if step.kind in {"remove", "update"}:
        own = [member.client_urls[0] for member in members if member.id == step.id and member.started]
        for url in own:
            ctl.hand_over(url)
    others = [url for url, member in voters(members).items() if member != step.id]
    ctl.change(step.words, lambda: step not in work.left(ctl.members()), endpoints=others)
    work.progress.note(f"{step.name}: {step.kind} is done")


def _note_seen(work: _Work, members: Sequence[Member]) -> None:
    """Note in the ledger which of the nodes that joined are seen to have what was issued to them."""
    started = {member.name for member in members if member.started}
    with workshop.opened(work.plan, work.options, work.ask) as vault:
        current = {row.key: row for row in vault.ledger()}
        joined = (
            {key[0] for key, row in current.items() if not row.card} & set(vault.founding.joining) & started
        )
        for name in sorted(joined & {node.name for node in work.plan.members}):
            seen = presented(work.plan, work.options.out / OPERATOR, member=name)
            if all(one.serial == current[one.node, one.name].facts.serial for one in seen):
                vault.place([name], LIVE)
