"""The machines of one run together: started, waited for, judged; everything that happens is recorded."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake.errors import BuildError
from nodebake.lab.record import Check, Stall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nodebake.lab.judge import Judge
    from nodebake.lab.machine import Machine
    from nodebake.plan import Plan
    from nodebake.progress import Progress

_PAUSE = 0.5
_RARELY = 10.0  # seconds between questions while no console says that etcd starts
_NEAR = ("etcd", "healthy")


class ClusterError(BuildError):
    """The machines did not do what they had to; says what each console said last."""


@dataclass(slots=True, kw_only=True)
class Rack:
    """All machines of a run.

    Attributes:
        plan: the cluster.
        machines: one per node, by name, and strangers that a scenario brings.
        judge: the operator's side.
        progress: told every stage.
        clock: seconds since the lab started.
        spare: makes another machine with the artefact of the node named first, called by the second name.
        patience: seconds without success after which silence is failure.
        scenario: what is being played.
        remembered: what a component's check has seen before, by the component's name.
    """

    plan: Plan
    machines: dict[str, Machine]
    judge: Judge
    progress: Progress
    clock: Callable[[], float]
    spare: Callable[[str, str], Machine]
    patience: float
    scenario: str = ""
    checks: list[Check] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)
    remembered: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _told: dict[str, int] = field(default_factory=dict)
    _asked: float = 0.0

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the machines that run etcd."""
        return tuple(node.name for node in self.plan.members)

    def power_on(self, *names: str) -> None:
        """Start machines cold, together."""
        for name in names:
            self.machines[name].power_on()
            self._tell()

    def up(self, *names: str) -> None:
        """See to it that every machine has power and `names`, by default all members, are healthy."""
        self.power_on(*(name for name, machine in self.machines.items() if not machine.running))
        self.all_healthy(*names)

    def cut_power(self, *names: str) -> None:
        """Kill machines, together."""
        for name in names:
            self.machines[name].cut_power()

    def check(self, name: str, passed: bool, detail: str = "") -> None:  # noqa: FBT001 - reads as a sentence
        """Record that something held.

        Raises:
            ClusterError: it did not.
        """
        seen = Check(name=name, passed=passed, detail=detail, at=self.clock(), scenario=self.scenario)
        self.checks.append(seen)
        self.progress.note(f"{'ok' if passed else 'FAILED'}: {name}{f' ({detail})' if detail else ''}")
        if not passed:
            raise ClusterError(f"{name}: {detail or 'it does not hold'}{self.consoles()}")

    def never_gave_up(self, service: str, *names: str) -> None:
        """Check that a service could be started on every one of `names`, by default all machines."""
        for name in names or self.machines:
            self.check(f"{service} on {name} never gave up", not self.machines[name].console.gave_up(service))

    def all_healthy(self, *names: str) -> None:
        """Wait until every one of `names`, by default all members, is healthy over TLS."""
        wanted = names or self.members
        self.wait(f"{', '.join(wanted)} healthy", lambda: self._health(wanted))

    def wait(self, what: str, reached: Callable[[], bool]) -> None:
        """Wait until `reached`, and record it as a check.

        Raises:
            ClusterError: it took too long, or a machine panicked or stopped by itself.
        """
        end = self.clock() + self.patience
        while not reached():
            self._tell()
            broken = self._broken()
            if broken or self.clock() > end:
                self.check(what, passed=False, detail=broken or f"not within {self.patience:.0f} s")
            time.sleep(_PAUSE)
        self._tell()
        self.check(what, passed=True)

    def pause(self, seconds: float) -> None:
        """Let time pass, watching the machines."""
        end = self.clock() + seconds
        while self.clock() < end:
            self._tell()
            broken = self._broken()
            if broken:
                self.check("machines keep running", passed=False, detail=broken)
            time.sleep(_PAUSE)

    def consoles(self) -> str:
        """Return the last lines of every console, for an error."""
        parts = []
        for name, machine in self.machines.items():
            lines = list(machine.console.last)[-12:] or ["(nothing)"]
            parts.append(
                f"\n  {name} ({machine.console.path}), stage {machine.stage}:\n    " + "\n    ".join(lines)
            )
        return "".join(parts)

    def _health(self, wanted: tuple[str, ...]) -> bool:
        # Asking machines that do not answer takes seconds, in which no stage is told.
        if self.clock() < self._asked + _RARELY and not any(
            self.machines[name].stage in _NEAR for name in wanted
        ):
            return False
        self._asked = self.clock()
        health: Mapping[str, bool] = self.judge.health()
        for name, healthy in health.items():
            if healthy and self.machines[name].running:
                self.machines[name].reached("healthy", self.clock())
        return all(health[name] for name in wanted)

    def _broken(self) -> str:
        for name, machine in self.machines.items():
            if machine.console.panic:
                return f"{name} panicked: {machine.console.panic}"
            if machine.stage != "off" and not machine.running:
                return f"{name} stopped by itself"
        return ""

    def _tell(self) -> None:
        for name, machine in self.machines.items():
            for event in machine.events[self._told.get(name, 0) :]:
                self.progress.note(f"{event.at:7.1f} s  {name}: {event.stage}")
            self._told[name] = len(machine.events)
