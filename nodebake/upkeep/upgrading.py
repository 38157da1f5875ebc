"""Another release of etcd, or other settings, for members that run: one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nodebake import pipeline
from nodebake.components import chosen
from nodebake.components.etcd.releases import objection, release, text
from nodebake.errors import BuildError, SafetyError
from nodebake.pipeline import outline, renewal, workshop
from nodebake.upkeep import renewing
from nodebake.upkeep.backing import backup
from nodebake.upkeep.etcdctl import etcdctl
from nodebake.upkeep.membership import seats, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nodebake.components.etcd.releases import Release
    from nodebake.manifest import Artifact
    from nodebake.pipeline import Options
    from nodebake.pipeline.bakery import Bakery
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress
    from nodebake.upkeep.etcdctl import Etcdctl
    from nodebake.upkeep.ssh import Ssh


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """What was done.

    Attributes:
        version: what every member has, or is to have.
        before: the version that each member ran.
        snapshot: the data as it was before; None if no member gets another version.
        archives: what is to be brought to the members by hand, in this order; empty if it was pushed.
    """

    version: str
    before: Mapping[str, str]
    snapshot: Path | None = None
    archives: Mapping[str, Artifact] = field(default_factory=dict)


def upgrade(
    plan: Plan,
    options: Options,
    push: Ssh | None,
    *,
    progress: Progress,
    ask: Callable[[str], str] | None,
) -> Upgraded:
    """Bring the profile's release of etcd, and its settings, to members that run.

    Run again, it goes on where it was: a member that has everything is not restarted.

    Args:
        plan: the cluster.
        options: where its vault and its artefacts are.
        push: lays programs and settings over the members; None leaves that to the user.
        progress: told of each member.
        ask: gets a pass phrase from the user; None where nobody can answer.

    Raises:
        SafetyError: this release must not follow what runs, or a member is missing; nothing is changed.
        UsageError: the vault or the pass phrase cannot be used.
        InputError: a program could not be had.
        BuildError: something could not be written, or a member did not come back.
    """
    ctl, supplies = etcdctl(plan, options), workshop.supplies(plan, options, progress)
    _check_members(ctl)
    version = next(one.version for one in supplies.fetched["etcd"].used if one.name.startswith("etcd"))
    target = release(version)
    before = _running(ctl)
    if wrong := objection(before.values(), target, users=bool(plan.profile.etcd.auth)):
        raise SafetyError(wrong[0], hint=wrong[1])
    behind = [name for name, one in before.items() if one != target]
    with workshop.opened(plan, options, ask) as vault:
        vault.give(outline.digest(plan, supplies.users), running=True)
    pipeline.build(plan, options=replace(options, node="", stamp=None), progress=progress, ask=ask)
    snapshot = _snapshot(plan, options, target, begun=len(behind) < len(before)) if behind else None
    with workshop.opened(plan, options, ask) as vault:
        oven = workshop.heat(plan, options, vault, supplies)
        pieces = {node.name: _everything(oven, node, programs=node.name in behind) for node in plan.members}
        archives = renewing.bring(
            oven,
            vault,
            pieces,
            push,
            progress,
            lambda one, archives: one.restart(archives, ctl, lambda node: _check(ctl, node, target)),
        )
    leader = ctl.leader()
    ordered = {name: archives[name] for name in sorted(archives, key=lambda name: name == leader)}
    return Upgraded(
        version=text(target),
        before={name: text(one) for name, one in before.items()},
        snapshot=snapshot,
        archives={} if push else ordered,
    )


def _check_members(ctl: Etcdctl) -> None:
    """See that no member is left out, or built for a cluster that is not there.

    Raises:
        SafetyError: the cluster has other members than the profile.
    """
    if left := steps(seats(ctl.plan), ctl.members()):
        told = ", ".join(f"{step.kind} {step.name}" for step in left)
        raise SafetyError(
            f"the cluster's members are not those of the profile; left: {told}",
            hint="first ./invoke members, with the version that the cluster runs in the profile",
        )


def _running(ctl: Etcdctl) -> dict[str, Release]:
    """Return what each member runs.

    Raises:
        SafetyError: one is missing.
    """
    ctl.all_healthy("an upgrade")
    urls = {ctl.endpoint(node): node.name for node in ctl.plan.members}
    return {urls[url]: release(status.version) for url, status in ctl.statuses(list(urls)).items()}


def _snapshot(plan: Plan, options: Options, target: Release, *, begun: bool) -> Path:
    """Save the data before the first member gets another version; one that was saved then is kept."""
    path = options.out / f"before-{text(target)}.db"
    if begun and path.exists():
        return path
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    backup(plan, options, new)
    return new.replace(path)


def _everything(oven: Bakery, node: NodePlan, *, programs: bool) -> renewal.Pieces:
    services = [name for one in chosen(oven.plan) for name in one.services(oven.plan, node)]
    return renewal.Pieces(
        company=True, settings=True, programs=programs, revocations=True, restart=tuple(services)
    )


def _check(ctl: Etcdctl, node: NodePlan, target: Release) -> None:
    url = ctl.endpoint(node)
    found = ctl.statuses([url]).get(url)
    if found is None or release(found.version) != target:
        runs = found.version if found else "nothing that answers"
        raise BuildError(
            f"{node.name} was given etcd {text(target)}, and runs {runs}",
            hint="look at etcd's log on the node; then run the same again",
        )
