"""One run of the lab, from the artefacts to the report."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from nodebake.command import run
from nodebake.errors import BuildError, NodebakeError
from nodebake.lab import disks, premises, report
from nodebake.lab.accelerator import emulator
from nodebake.lab.bench import Bench, prepare
from nodebake.lab.network import private_network
from nodebake.lab.record import Event, Floor, Record, Timeline
from nodebake.lab.scenarios import SCENARIOS, check_playable
from nodebake.sources.cache import in_use

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nodebake.lab.machine import Machine
    from nodebake.lab.options import Options
    from nodebake.lab.rack import Rack
    from nodebake.manifest import Artifact, Manifest
    from nodebake.plan import Plan
    from nodebake.progress import Progress

# How many times as long as the floor a cold start may take.
_ALLOWED: Mapping[str, float] = {"alpine": 1.5, "debian": 4.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Who is on the private network.

    Attributes:
        interfaces: the machines' addresses with prefix.
        gateways: the addresses of somebody they expect there.
    """

    interfaces: tuple[str, ...]
    gateways: tuple[str, ...]


def boot(plan: Plan, *, options: Options, progress: Progress) -> Record:
    """Start the artefacts of `plan` as cold machines, play a scenario, judge, and write the report.

    Raises:
        UsageError: no such scenario, machine or build, or another lab runs there.
        InputError: a tool, memory, disk or an input is missing.
        BuildError: an artefact is not what its manifest says, or the cluster did not do what it must.
    """
    scenarios = check_playable(options.scenario, plan)
    premises.check_kind(plan, base=options.base)
    manifest = premises.read_manifest(plan, options.out)
    directory = options.out / "lab"
    with ExitStack() as stack:
        stack.enter_context(in_use(options.cache))
        work = stack.enter_context(premises.only_lab(directory))
        premises.check_machine(plan, work)
        neighbours = Neighbours(
            interfaces=tuple(interface for node in plan.nodes for interface in node.interfaces),
            gateways=tuple(map(str, plan.profile.network.gateway)),
        )
        # First of all that takes long: whoever may not make a network need not wait for a guest system.
        network = stack.enter_context(
            private_network(neighbours.interfaces, gateways=neighbours.gateways, litter=[work])
        )
        bench = prepare(plan, manifest, options=options, progress=progress, work=work)
        floors = _measure(bench, manifest, neighbours, suffix=".floor")
        rack = bench.rack(network)
        why = _play(rack, scenarios)
        if not why:
            floors += _measured_again(bench, manifest, neighbours)
        record = _record(bench, rack, manifest, why, floors)
    (directory / "report.json").write_text(report.to_json(record), encoding="utf-8")
    (directory / "report.html").write_text(report.to_html(record), encoding="utf-8")
    if why:
        raise BuildError(why, hint=f"the report is {directory / 'report.html'}")
    return record


def _measure(
    bench: Bench, manifest: Manifest, neighbours: Neighbours, *, suffix: str
) -> tuple[tuple[float, float], ...]:
    """Return how fast the same could be at best; nothing where a scenario is about something else."""
    base = bench.guest.floor
    if base is None or not bench.options.scenario.startswith("cold"):
        return ()
    bench.progress.note("the floor: the same kernel and etcd, and nothing else")
    archives = {name: bench.options.out / _archive(items) for name, items in manifest.nodes.items()}
    with private_network(neighbours.interfaces, gateways=neighbours.gateways) as network:
        rack = bench.floor(network, base, archives, suffix=suffix)
        try:
            rack.power_on(*rack.members)
            rack.all_healthy()
        finally:
            rack.cut_power(*rack.machines)
    reached = _healthy_after(rack)
    return (reached,) if reached else ()


def _measured_again(
    bench: Bench, manifest: Manifest, neighbours: Neighbours
) -> tuple[tuple[float, float], ...]:
    """Measure once more; what was judged before is worth its report even if that fails."""
    try:
        return _measure(bench, manifest, neighbours, suffix=".floor-after")
    except NodebakeError as error:
        bench.progress.note(f"the floor could not be measured again: {error}")
        return ()


def _archive(artefacts: Iterable[Artifact]) -> str:
    """Return the path of the artefact with the node's own files."""
    found = [one.path for one in artefacts if one.kind in {"payload", "apkovl"}]
    return next((path for path in found if "shared" not in path), found[0])


def _play(rack: Rack, scenarios: Iterable[str]) -> str:
    """Play the scenarios, switch everything off, and return why it failed; nothing if it did not."""
    try:
        for scenario in scenarios:
            rack.scenario = scenario
            rack.progress.note(f"scenario {scenario}")
            SCENARIOS[scenario](rack)
        rack.cut_power(*rack.machines)
        disks.judge(rack)
    except NodebakeError as error:
        return str(error)
    finally:
        rack.cut_power(*rack.machines)
    return ""


def _record(
    bench: Bench, rack: Rack, manifest: Manifest, why: str, floors: Sequence[tuple[float, float]]
) -> Record:
    versions = {
        "emulator": run([emulator(bench.plan.arch), "--version"]).decode().splitlines()[0],
        "guest": bench.guest.version,
        "etcd": ", ".join(
            dict.fromkeys(one.version for one in manifest.inputs if one.name.startswith("etcd"))
        ),
    }
    accelerator = bench.accelerator
    seconds, used = _healthy_after(rack) or (None, None)
    return Record(
        profile=bench.plan.name,
        scenario=bench.options.scenario,
        verdict="failed" if why else "passed",
        why=why,
        accelerator=accelerator.name + (f" ({accelerator.why})" if accelerator.why else ""),
        versions=versions,
        healthy_after=seconds,
        used=used,
        checks=tuple(rack.checks),
        nodes=tuple(_timeline(machine, manifest, bench.guest.kind) for machine in rack.machines.values()),
        stalls=tuple(rack.stalls),
        floor=_floor(bench, floors),
    )


def _floor(bench: Bench, floors: Sequence[tuple[float, float]]) -> Floor | None:
    if not floors:
        return None
    runs, used = zip(*floors, strict=True)
    return Floor(
        runs=runs,
        used=round(fmean(used), 2),
        allowed=_ALLOWED[bench.plan.profile.machine.os],
    )


def _timeline(machine: Machine, manifest: Manifest, kind: str) -> Timeline:
    artefacts = manifest.nodes.get(machine.name, ())
    booted = next((one.sha256 for one in artefacts if one.kind == kind), "")
    events = tuple(
        replace(event, at=round(event.at, 3), used=round(event.used, 2)) for event in machine.events
    )
    return Timeline(name=machine.name, events=events, console=machine.console.path.name, digest=booted)


def _healthy_after(rack: Rack) -> tuple[float, float] | None:
    """Return when all members were healthy after the first power-on, and their average processor seconds.

    None if one of them never was.
    """
    powers = [_first(rack.machines[name], "power") for name in rack.members]
    healthy = [_first(rack.machines[name], "healthy") for name in rack.members]
    reached = [event for event in healthy if event]
    if not reached or len(reached) < len(healthy):
        return None
    start = min(event.at for event in powers if event)
    seconds = max(event.at for event in reached) - start
    return round(seconds, 3), round(sum(event.used for event in reached) / len(reached), 2)


def _first(machine: Machine, stage: str) -> Event | None:
    return next((event for event in machine.events if event.stage == stage), None)
