"""A running cluster's members made those of the profile: added as learners, promoted, moved, removed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nodebake import pipeline
from nodebake.components import chosen
from nodebake.components.etcd import EtcdPart
from nodebake.errors import BuildError, SafetyError
from nodebake.pipeline import outline, renewal, workshop
from nodebake.progress import Silent
from nodebake.upkeep import renewing
from nodebake.upkeep.artefacts import OPERATOR
from nodebake.upkeep.etcdctl import etcdctl
from nodebake.upkeep.membership import Seat, check_quorum, steps
from nodebake.upkeep.presented import presented
from nodebake.upkeep.replacing import LIVE
from nodebake.upkeep.rolling import Round, nothing_to_see

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from nodebake.manifest import Artifact
    from nodebake.pipeline import Options
    from nodebake.pipeline.bakery import Bakery
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress
    from nodebake.upkeep.etcdctl import Etcdctl, Member
    from nodebake.upkeep.membership import Step
    from nodebake.upkeep.ssh import Ssh
    from nodebake.vault import Vault

_PATIENCE = (
    120  # seconds for the cluster to take a step; after a change it says for some that it is unhealthy
)
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
        done: steps that the cluster has taken in this run.
        left: steps that are left, the next one first.
        through: a URL that takes requests, for commands by hand.
        archives: what the other members need to know, to be brought there by hand.
    """

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

    @property
    def seats(self) -> tuple[Seat, ...]:
        ctl = self.ctl
        return tuple(
            Seat(name=node.name, peer_url=ctl.peer_url(node), client_url=ctl.endpoint(node))
            for node in self.plan.members
        )


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
    work = _Work(
        plan=plan,
        options=options,
        wanted=wanted,
        ctl=etcdctl(plan, options),
        progress=progress,
        ask=ask,
    )
    members = _members(work.ctl)
    left = steps(work.seats, members)
    _check_release(work, members)
    if left and left[0].kind != "start":
        check_quorum(left[0], members, _healthy(work.ctl, members))
    # Who leaves is let go before the others hear of it: a packet filter without it could cost the quorum.
    leaving = wanted.live and bool(left) and all(step.kind == "remove" for step in left)
    archives = {} if leaving else _prepare(work, members, left)
    done: tuple[Step, ...] = ()
    if wanted.live:
        done, left = _carry_out(work)
        members = _members(work.ctl)
        if leaving or any(step.kind == "remove" for step in done):
            archives = _prepare(work, members, left)
        _note_seen(work, members)
    through = next(iter(work.ctl.through([url for member in members for url in member.client_urls])), "")
    return Adjusted(done=done, left=left, through=through, archives={} if wanted.push else archives)


def _members(ctl: Etcdctl) -> tuple[Member, ...]:
    try:
        return ctl.members()
    except BuildError as error:
        raise SafetyError(
            "no quorum of the cluster answers, so that its members cannot be changed",
            hint="bring members back until a majority is healthy; a cluster that was never started has no "
            "members to change yet: ./invoke build",
        ) from error


def _urls(members: Sequence[Member], *, but: str = "") -> dict[str, str]:
    """Return the voters' ids by URL, without the member `but`: a learner knows no list of members."""
    voters = (member for member in members if member.started and not member.learner and member.id != but)
    return {member.client_urls[0]: member.id for member in voters}


def _healthy(ctl: Etcdctl, members: Sequence[Member]) -> frozenset[str]:
    urls = _urls(members)
    return frozenset(urls[url] for url in ctl.through(list(urls)))


def _check_release(work: _Work, members: Sequence[Member]) -> None:
    """See that a changed release does not come along by the way."""
    part = work.plan.part(EtcdPart)
    wanted = part.version.split(".")[:_MAJOR_MINOR]
    for status in work.ctl.statuses(list(_urls(members))).values():
        if status.version.split(".")[:_MAJOR_MINOR] != wanted:
            raise SafetyError(
                f"the cluster runs etcd {status.version}, and the profile asks for {part.version}",
                hint="one after the other: ./invoke upgrade first, or the old version in the profile for now",
            )


def _prepare(work: _Work, members: Sequence[Member], left: Sequence[Step]) -> Mapping[str, Artifact]:
    """Build what the new members start from, and tell those that run whom they are with now."""
    plan, options = work.plan, work.options
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
    busy = {step.name for step in left}
    running = [node for node in plan.members if node.name not in busy]
    with workshop.opened(plan, options, work.ask) as vault:
        oven = workshop.heat(plan, options, vault, workshop.supplies(plan, options, Silent()))
        archives = renewing.write(oven, vault, {node.name: _company(oven, node) for node in running})
        if work.wanted.push:
            one = Round(oven=oven, vault=vault, ssh=work.wanted.push, progress=work.progress)
            one.lay(archives, nothing_to_see)
    return archives


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
        members = _members(work.ctl)
        left = steps(work.seats, members)
        if not left or (left[0].kind == "start" and not _comes(work, left[0])):
            return tuple(done), left
        if left[0].kind != "start":
            _take(work, left[0], members)
            done.append(left[0])


def _comes(work: _Work, step: Step) -> bool:
    """Wait a while for a machine; it may be on, and have waited for the cluster to expect it."""
    work.progress.note(f"waiting for {step.name} to start with its new artefact")
    end = time.monotonic() + _COMING
    while step in steps(work.seats, _members(work.ctl)):
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE)
    return True


def _take(work: _Work, step: Step, members: Sequence[Member]) -> None:
    """Have the cluster take a step; what it refuses for some seconds is asked for again."""
    check_quorum(step, members, _healthy(work.ctl, members))
    if step.kind in {"remove", "update"}:
        _hand_over(work.ctl, step, members)
    end, others = time.monotonic() + _PATIENCE, list(_urls(members, but=step.id))
    while True:
        try:
            work.ctl.run(step.words, endpoints=others)
        except BuildError:
            # It may have been taken although the answer was lost.
            if step not in steps(work.seats, _members(work.ctl)):
                break
            if time.monotonic() > end:
                raise
            time.sleep(_PAUSE)
        else:
            break
    work.progress.note(f"{step.name}: {step.kind} is done")


def _hand_over(ctl: Etcdctl, step: Step, members: Sequence[Member]) -> None:
    """Have another member lead, so that the end of this one interrupts nobody."""
    urls = _urls(members)
    statuses = ctl.statuses(list(urls))
    heirs: Collection[str] = _healthy(ctl, members) - {step.id}
    for url, status in statuses.items():
        if status.leads and status.id == step.id and heirs:
            ctl.run(["move-leader", min(heirs)], endpoints=[url])


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
