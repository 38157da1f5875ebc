"""What happens to the machines, and what must hold. Each scenario is one function that reads as a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.errors import UsageError
from nodebake.lab import components
from nodebake.lab.hardware import FIRST_DAY
from nodebake.lab.writer import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nodebake.lab.rack import Rack
    from nodebake.lab.writer import Writer
    from nodebake.plan import Plan

_A_FEW = 5  # acknowledged writes that show that writing goes on
_SECOND_AFTER, _THIRD_AFTER = 20.0, 60.0  # seconds after the first power-on
_REFUSAL = "etcd: not started"


def cold(rack: Rack) -> None:
    """All power on together."""
    rack.power_on(*rack.machines)
    rack.all_healthy()
    accept(rack)


def staggered(rack: Rack) -> None:
    """The second machine comes after 20 s, every further one 40 s later."""
    first, second, *others = rack.machines
    rack.power_on(first)
    rack.pause(_SECOND_AFTER)
    rack.power_on(second)
    for name in others:
        rack.pause(_THIRD_AFTER - _SECOND_AFTER)
        rack.power_on(name)
    rack.all_healthy()
    rack.never_gave_up("etcd", *rack.members)
    accept(rack)


def no_clock(rack: Rack) -> None:
    """Every machine's clock is at 1970-01-01, and there is no time server."""
    for machine in rack.machines.values():
        machine.set_clock(FIRST_DAY)
    cold(rack)


def power_cut(rack: Rack) -> None:
    """A machine loses power while somebody writes; then all do; then it comes back."""
    rack.up()
    components.check(rack)
    with writing(rack.judge, "lab/power-cut/", clock=rack.clock) as writer:
        rack.wait("the first writes are acknowledged", lambda: writer.count >= _A_FEW)
        writer.mark(f"power of {rack.members[-1]} cut")
        rack.cut_power(rack.members[-1])
        so_far = writer.count
        rack.wait("writes go on without it", lambda: writer.count >= so_far + _A_FEW)
        rack.cut_power(*rack.machines)
    rack.stalls.extend(writer.stalls())
    rack.power_on(*rack.machines)
    rack.all_healthy()
    nothing_is_lost(rack, writer)
    components.check(rack)


def node_loss(rack: Rack) -> None:
    """The leader's machine is gone for good."""
    rack.up()
    lost = leader(rack)
    rest = [name for name in rack.members if name != lost]
    with writing(rack.judge, "lab/node-loss/", clock=rack.clock) as writer:
        rack.wait("the first writes are acknowledged", lambda: writer.count >= _A_FEW)
        writer.mark(f"power of the leader, {lost}, cut")
        rack.cut_power(lost)
        so_far = writer.count
        rack.wait("writes go on without it", lambda: writer.count >= so_far + _A_FEW)
    rack.stalls.extend(writer.stalls())
    rack.all_healthy(*rest)
    nothing_is_lost(rack, writer, members=rest)


def partition(rack: Rack) -> None:
    """The leader's cable is pulled, and put back."""
    rack.up()
    old = leader(rack)
    rest = [name for name in rack.members if name != old]
    with writing(rack.judge, "lab/partition/", clock=rack.clock) as writer:
        rack.wait("the first writes are acknowledged", lambda: writer.count >= _A_FEW)
        writer.mark(f"cable of the leader, {old}, pulled")
        rack.machines[old].pull_cable()
        rack.wait("the others have a new leader", lambda: rack.judge.leader() in rest)
        so_far = writer.count
        rack.wait("writes go on without it", lambda: writer.count >= so_far + _A_FEW)
        rack.machines[old].plug_cable()
        rack.all_healthy()
    rack.stalls.extend(writer.stalls())
    nothing_is_lost(rack, writer)


def no_data_disk(rack: Rack) -> None:
    """One machine's data partition is missing."""
    poor, *rest = rack.members
    rack.machines[poor].take_out("data")
    rack.up(*rest)
    console = rack.machines[poor].console
    rack.wait(f"{poor} says on its console that etcd is not started", lambda: console.said(_REFUSAL))
    rack.pause(_SECOND_AFTER)
    rack.check(f"etcd never starts on {poor}", not rack.judge.health()[poor])


def wrong_card(rack: Rack) -> None:
    """Two machines boot the same node's artefact."""
    twin, *rest = rack.members
    rack.spare(twin, f"{twin}-again")
    rack.up(*rest)
    address = rack.plan.node(twin).ip
    rack.wait(f"two machines answer for {address}", lambda: len(rack.judge.owners(address)) > 1)
    rack.check("the clash is said", passed=True, detail=f"{address}: {', '.join(rack.judge.owners(address))}")
    rack.pause(_SECOND_AFTER)
    rack.all_healthy(*rest)
    rack.judge.put("lab/greeting", "hello", via=rest, patient=True)
    for name in rest:
        got = rack.judge.get("lab/greeting", via=name)
        rack.check(f"{name} gives back what was put", got == {"lab/greeting": "hello"}, _pairs(got))


def leader(rack: Rack) -> str:
    """Return the leader's name, as soon as it is told: on a slow machine nobody may answer at first."""
    told: list[str] = []

    def known() -> bool:
        told.append(rack.judge.leader())
        return bool(told[-1])

    rack.wait("somebody leads", known)
    return told[-1]


def accept(rack: Rack) -> None:
    """Judge a cluster that says it is healthy, as an operator would."""
    judge = rack.judge
    listed = judge.members()
    rack.check("the member list is the plan's", sorted(listed) == sorted(rack.members), _pairs(listed))
    judge.put("lab/greeting", "hello", patient=True)
    for name in rack.members:
        got = judge.get("lab/greeting", via=name)
        rack.check(f"{name} gives back what was put", got == {"lab/greeting": "hello"}, _pairs(got))
        told = judge.over_https(name)
        rack.check(f"{name} tells curl that it is healthy", '"health":"true"' in told, told.strip())
        for intruder, refused in judge.intruders(name).items():
            rack.check(f"{name} refuses a client {intruder}", refused)
    judge.desk()
    rack.check("the operator's environment file works from outside", passed=True)
    components.check(rack)


def nothing_is_lost(rack: Rack, writer: Writer, *, members: Sequence[str] = ()) -> None:
    """Compare what was acknowledged with what each member has; an attempt without an answer may be there."""
    for name in members or rack.members:
        found = rack.judge.get(writer.prefix, via=name)
        lost = sorted(set(writer.acknowledged.items()) - set(found.items()))
        more = sorted(set(found.items()) - set(writer.attempted.items()))
        rack.check(
            f"{name} has every acknowledged write and nothing else",
            not lost and not more,
            f"{writer.count} acknowledged, {_some('lost', lost)}, {_some('unknown', more)}",
        )


def _some(what: str, pairs: Sequence[tuple[str, str]]) -> str:
    return f"{len(pairs)} {what}" + (f", such as {_pairs(dict(pairs[:3]))}" if pairs else "")


def _pairs(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {text}" for name, text in sorted(found.items()))


SCENARIOS: Mapping[str, Callable[[Rack], None]] = {
    "cold": cold,
    "staggered": staggered,
    "no-clock": no_clock,
    "power-cut": power_cut,
    "node-loss": node_loss,
    "partition": partition,
    "no-data-disk": no_data_disk,
    "wrong-card": wrong_card,
}


# These are about the first start, so nothing can come before them.
_FIRST = ("cold", "staggered", "no-clock", "no-data-disk")
_WITHOUT_MAJORITY = ("cold", "no-clock")  # all others need somebody to go on without somebody else


def check_playable(names: str, plan: Plan) -> tuple[str, ...]:
    """Return the scenarios to play one after the other on the same machines.

    Args:
        names: with commas between them.
        plan: has to have what they are about.

    Raises:
        UsageError: with the reason.
    """
    wanted = tuple(names.split(","))
    for place, name in enumerate(wanted):
        if name not in SCENARIOS:
            raise UsageError(f"there is no scenario {name}", hint=f"there are {', '.join(SCENARIOS)}")
        if place and name in _FIRST:
            raise UsageError(f"{name} is about the first start of machines: name it first")
        if name == "no-data-disk" and plan.board.firmware:
            raise UsageError(
                f"{plan.name}: a data partition cannot be missing on a Raspberry Pi",
                hint="its card always has room for one, and the node makes it there",
            )
        if name == "no-data-disk" and plan.profile.machine.data is None:
            raise UsageError(
                f"{plan.name} has no data partition, so it cannot be missing",
                hint="set machine.data in the profile",
            )
        if name not in _WITHOUT_MAJORITY and len(plan.members) < 3:  # noqa: PLR2004 - the fewest with a majority to lose
            raise UsageError(
                f"{name} needs three members or more, and {plan.name} has {len(plan.members)}",
                hint=f"these do without: {', '.join(_WITHOUT_MAJORITY)}",
            )
    return wanted
