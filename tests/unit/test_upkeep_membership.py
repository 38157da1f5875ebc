"""From a cluster's members to those of the profile: which steps, in which order, and which never."""

from __future__ import annotations

import pytest

from nodebake.errors import SafetyError
from nodebake.upkeep.membership import Member, Seat, Step, check_quorum, steps


def url(number: int, port: int = 2380) -> str:
    """Return a member's URL."""
    return f"https://10.0.0.{number}:{port}"


def seat(number: int, at: int = 0) -> Seat:
    """Return the profile's node n<number>, perhaps at another's address."""
    return Seat(name=f"n{number}", peer_url=url(at or number), client_url=url(at or number, 2379))


def member(number: int, *, started: bool = True, learner: bool = False) -> Member:
    """Return the cluster's member n<number>."""
    return Member(
        id=f"{number}{number}",
        name=f"n{number}" if started else "",
        peer_urls=(url(number),),
        client_urls=(url(number, 2379),) if started else (),
        learner=learner,
    )


def told(found: tuple[Step, ...]) -> list[tuple[str, str]]:
    """Return kinds and names."""
    return [(step.kind, step.name) for step in found]


THREE = [member(1), member(2), member(3)]


@pytest.mark.parametrize(
    ("seats", "members", "expected"),
    [
        ([1, 2, 3], THREE, []),
        ([1, 2, 3, 4, 5], THREE, [("add", "n4"), ("add", "n5")]),
        ([1, 2, 3, 4], [*THREE, member(4, started=False, learner=True)], [("start", "n4")]),
        ([1, 2, 3, 4, 5], [*THREE, member(4, learner=True)], [("promote", "n4"), ("add", "n5")]),
        ([1], THREE, [("remove", "n2"), ("remove", "n3")]),
        ([1, 2, 4], THREE, [("add", "n4"), ("remove", "n3")]),
        ([1, 2, 3], [*THREE, member(4, started=False)], [("remove", url(4))]),
    ],
)
def test_the_steps_are(seats: list[int], members: list[Member], expected: list[tuple[str, str]]) -> None:
    """What is under way ends first; members come before others go."""
    assert expected == told(steps([seat(number) for number in seats], members))


def test_nodes_are_users_before_they_ask() -> None:
    """Who etcd does not know comes first, members and clients; users are nobody's seat."""
    found = steps([seat(1), seat(2), seat(3), seat(4)], THREE, ["n4", "c1"])
    assert told(found) == [("user", "n4"), ("user", "c1"), ("add", "n4")]
    assert found[0].words == ("user", "add", "n4", "--no-password")


def test_etcdctl_is_told() -> None:
    """The words of each kind, as etcdctl takes them."""
    members = [*THREE[:2], member(4, learner=True), member(6)]
    found = steps([seat(1), seat(2, at=9), seat(4), seat(5)], members)
    assert [step.words for step in found] == [
        ("member", "promote", "44"),
        ("member", "update", "22", f"--peer-urls={url(9)}"),
        ("member", "add", "n5", "--learner", f"--peer-urls={url(5)}"),
        ("member", "remove", "66"),
    ]


def test_a_member_that_moves_is_updated_and_then_started() -> None:
    """The cluster's list has its new address at once; its own URL for clients only when it is there."""
    seats = [seat(1), seat(2), seat(3, at=9)]
    assert told(steps(seats, THREE)) == [("update", "n3")]
    moving = Member(id="33", name="n3", peer_urls=(url(9),), client_urls=(url(3, 2379),), learner=False)
    assert told(steps(seats, [*THREE[:2], moving])) == [("start", "n3")]


def test_a_member_keeps_its_name() -> None:
    """Another name at the same address is refused."""
    with pytest.raises(SafetyError, match="n3's in the cluster and n9's in the profile"):
        steps([seat(1), seat(2), seat(9, at=3)], THREE)


@pytest.mark.parametrize(
    ("kind", "number", "members", "healthy", "good"),
    [
        ("add", 4, THREE, {"11", "22"}, True),
        ("add", 4, THREE, {"11"}, False),
        ("promote", 4, [*THREE, member(4, learner=True)], {"11", "22"}, True),
        ("promote", 2, [member(1), member(2, learner=True)], {"11"}, True),
        ("remove", 3, THREE, {"11", "22", "33"}, True),
        ("remove", 3, THREE, {"11", "22"}, True),
        ("remove", 3, THREE, {"11", "33"}, False),
        ("remove", 1, [member(1)], {"11"}, False),
        ("remove", 4, [*THREE, member(4, learner=True)], {"11", "22"}, True),
        ("update", 3, THREE, {"11", "22", "33"}, True),
        ("update", 3, THREE, {"11", "33"}, False),
        ("update", 1, [member(1)], {"11"}, False),
    ],
)
def test_quorum_is_kept(
    kind: str, number: int, members: list[Member], healthy: set[str], *, good: bool
) -> None:
    """Counted after the step, and without the one that moves while it does."""
    step = Step(kind=kind, name=f"n{number}", peer_url=url(number), id=f"{number}{number}")  # type: ignore[arg-type]
    if good:
        check_quorum(step, members, healthy)
    else:
        with pytest.raises(SafetyError, match=f"n{number}: w"):
            check_quorum(step, members, healthy)
