"""What separates a cluster's members from those of the profile, and which step is next; asks nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nodebake.errors import SafetyError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from nodebake.upkeep.etcdctl import Member

Kind = Literal["start", "promote", "update", "add", "remove"]
_ORDER: tuple[Kind, ...] = ("start", "promote", "update", "add", "remove")
"""What is under way comes to its end first; members come before others go."""


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
        kind: `start` is for the user: a machine to be started with its artefact. The others are for etcd.
        name: of the node, or of the member that goes.
        peer_url: where other members find it, or will.
        id: the member's, hexadecimal; empty for one that is to be added.
    """

    kind: Kind
    name: str
    peer_url: str
    id: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """What etcdctl is told; nothing for what the user has to do."""
        return {
            "start": (),
            "promote": ("member", "promote", self.id),
            "update": ("member", "update", self.id, f"--peer-urls={self.peer_url}"),
            "add": ("member", "add", self.name, "--learner", f"--peer-urls={self.peer_url}"),
            "remove": ("member", "remove", self.id),
        }[self.kind]


def steps(seats: Sequence[Seat], members: Sequence[Member]) -> tuple[Step, ...]:
    """Return what is to be done, in order, until the cluster has the members of the profile.

    Raises:
        SafetyError: a member has another name in the profile.
    """
    places = {url: member for member in members for url in member.peer_urls}
    names = {member.name: member for member in members if member.name}
    taken: set[str] = set()
    found: list[Step] = []
    for seat in seats:
        member = places.get(seat.peer_url) or names.get(seat.name)
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
