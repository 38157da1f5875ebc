"""What separates a cluster's members from those of the profile, and which step is next; asks nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from nodebake.components.etcd import EtcdPart
from nodebake.errors import SafetyError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from nodebake.plan import Plan

Kind = Literal["user", "start", "promote", "update", "add", "remove"]
_ORDER: tuple[Kind, ...] = get_args(Kind)
"""A machine is known before it asks; what is under way ends first; members come before others go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member as the cluster lists it.

    Attributes:
        id: hexadecimal.
        name: the node's name; empty for one that was added and has not started.
        peer_urls: where other members find it.
        client_urls: where clients find it; none for one that has not started.
        learner: it does not vote.
    """

    id: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool

    @property
    def started(self) -> bool:
        """It has run, so that it may hold data."""
        return bool(self.client_urls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A member as the profile has it."""

    name: str
    peer_url: str
    client_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do.

    Attributes:
        kind: `start` is for the operator: a machine to be started with its artefact. The others are for etcd;
            `user` makes a node one of its users, as those are that the cluster began with.
        name: of the node, or of the member that goes.
        peer_url: where other members find it, or will; empty for a user.
        id: the member's, hexadecimal; empty for one that is to be added.
    """

    kind: Kind
    name: str
    peer_url: str = ""
    id: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """What etcdctl is told; nothing for what the operator has to do."""
        return {
            "user": ("user", "add", self.name, "--no-password"),
            "start": (),
            "promote": ("member", "promote", self.id),
            "update": ("member", "update", self.id, f"--peer-urls={self.peer_url}"),
            "add": ("member", "add", self.name, "--learner", f"--peer-urls={self.peer_url}"),
            "remove": ("member", "remove", self.id),
        }[self.kind]


def voters(members: Iterable[Member]) -> dict[str, str]:
    """Return the ids of those who vote by their URLs for clients: a learner answers for itself only."""
    return {member.client_urls[0]: member.id for member in members if member.started and not member.learner}


def seats(plan: Plan) -> tuple[Seat, ...]:
    """Return the members as the profile of `plan` has them."""
    part = plan.part(EtcdPart)
    return tuple(
        Seat(name=node.name, peer_url=part.peer_url(node), client_url=part.client_url(node))
        for node in plan.members
    )


def steps(places: Sequence[Seat], members: Sequence[Member], unknown: Iterable[str] = ()) -> tuple[Step, ...]:
    """Return what is to be done, in order, until the cluster has the members of the profile.

    Args:
        places: the profile's members.
        members: the cluster's.
        unknown: nodes of the profile that have to be users of etcd, and are not.

    Raises:
        SafetyError: a member has another name in the profile.
    """
    urls = {url: member for member in members for url in member.peer_urls}
    names = {member.name: member for member in members if member.name}
    taken: set[str] = set()
    found = [Step(kind="user", name=name) for name in unknown]
    for seat in places:
        member = urls.get(seat.peer_url) or names.get(seat.name)
        found += _step(seat, member)
        taken |= {member.id} if member else set()
    for member in members:
        if member.id not in taken:
            url = member.peer_urls[0]
            found.append(Step(kind="remove", name=member.name or url, peer_url=url, id=member.id))
    return tuple(sorted(found, key=lambda step: _ORDER.index(step.kind)))


def _step(seat: Seat, member: Member | None) -> Iterator[Step]:
    if member is None:
        yield Step(kind="add", name=seat.name, peer_url=seat.peer_url)
        return
    if member.started and member.name != seat.name:
        raise SafetyError(
            f"{seat.peer_url} is {member.name}'s in the cluster and {seat.name}'s in the profile, "
            "and a member keeps its name",
            hint=f"give {seat.name} another address, and remove {member.name} when it has joined",
        )

    def step(kind: Kind) -> Step:
        return Step(kind=kind, name=seat.name, peer_url=seat.peer_url, id=member.id)

    if seat.peer_url not in member.peer_urls:
        yield step("update")
    elif seat.client_url not in member.client_urls:
        yield step("start")
    elif member.learner:
        yield step("promote")


def check_quorum(step: Step, members: Iterable[Member], healthy: Collection[str]) -> None:
    """See that the cluster still decides after a step, and while one of its members moves.

    Args:
        step: what is to be done.
        members: as the cluster lists them.
        healthy: the ids of those through which it takes requests now.

    Raises:
        SafetyError: it would not.
    """
    voters = {member.id for member in members if not member.learner}
    alive = voters & set(healthy)
    after = {
        "promote": (voters | {step.id}, alive | {step.id}),
        "remove": (voters - {step.id}, alive - {step.id}),
        "update": (voters, alive - {step.id}),
    }
    voting, deciding = after.get(step.kind, (voters, alive))
    needed = len(voting) // 2 + 1
    if len(deciding) < needed or not voting:
        what = {"remove": "without it", "update": "while it moves"}.get(step.kind, "with it")
        raise SafetyError(
            f"{step.name}: {what}, {len(deciding)} of {len(voting)} members would be healthy, "
            f"and {needed} must be",
            hint="bring members back, or add some, first; then run the same again",
        )
