"""A new authority for a cluster that runs: trust both, issue from the new one, drop the old one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake.components import chosen
from nodebake.errors import BuildError, SafetyError, UsageError
from nodebake.pipeline import renewal, workshop
from nodebake.progress import Silent
from nodebake.upkeep import renewing
from nodebake.upkeep.admission import admission
from nodebake.upkeep.artefacts import OPERATOR
from nodebake.upkeep.etcdctl import etcdctl
from nodebake.upkeep.presented import presented
from nodebake.vault import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nodebake.manifest import Artifact
    from nodebake.pipeline import Options
    from nodebake.pipeline.bakery import Bakery
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress
    from nodebake.upkeep.etcdctl import Etcdctl
    from nodebake.upkeep.rolling import Round
    from nodebake.upkeep.ssh import Ssh
    from nodebake.vault import Rotation, Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to do about a change of the authority.

    Attributes:
        step: the step to be at; empty for the next thing that is to be done.
        confirm: nodes that the user has seen to.
        live: ask the running members whether they have the step.
        push: lays renewals over the nodes; None leaves that to the user.
    """

    step: str = ""
    confirm: tuple[str, ...] = ()
    live: bool = False
    push: Ssh | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """How far it has come.

    Attributes:
        step: the step under way; empty when the change is over.
        missing: nodes that are not known to have it.
        archives: their renewals.
    """

    step: str
    missing: tuple[str, ...] = ()
    archives: Mapping[str, Artifact] = field(default_factory=dict)


def rotate(
    plan: Plan, options: Options, wanted: Wanted, *, progress: Progress, ask: Callable[[str], str] | None
) -> Rotated:
    """Do the next part of a change of the authority; run again, it goes on where it was.

    Raises:
        SafetyError: a step is asked for whose turn it is not, or a member is not healthy.
        UsageError: there is no such step or node, or the vault or the pass phrase cannot be used.
        InputError: a program could not be had.
        BuildError: something could not be written, or a node did not take its renewal.
    """
    names = [node.name for node in plan.nodes]
    _check_words(wanted, names)
    supplies = workshop.supplies(plan, options, Silent())
    with workshop.opened(plan, options, ask) as vault:
        change = vault.authorities
        if change.rotation.step:
            change.confirm(wanted.confirm)
            change.confirm(_seen(plan, vault, options) if wanted.live else ())
        _advance(vault, wanted, names)
        archives: Mapping[str, Artifact] = {}
        if change.rotation.step:
            oven = workshop.heat(plan, options, vault, supplies)
            pieces = _pieces(oven, change.rotation)
            archives = renewing.bring(
                oven,
                vault,
                pieces,
                wanted.push,
                progress,
                lambda one, archives: _push(one, archives, etcdctl(plan, options)),
            )
        if change.rotation.step == STEPS[-1] and not change.rotation.missing(names):
            change.advance(names)
        missing = change.rotation.missing(names) if change.rotation.step else ()
        left = {name: archives[name] for name in missing if name in archives}
        return Rotated(step=change.rotation.step, missing=missing, archives=left)


def _check_words(wanted: Wanted, names: Sequence[str]) -> None:
    if wanted.step and wanted.step not in STEPS:
        raise UsageError(f"there is no step {wanted.step}", hint=f"the steps are {', '.join(STEPS)}")
    strangers = set(wanted.confirm) - set(names)
    if strangers:
        raise UsageError(
            f"there is no node {', '.join(sorted(strangers))}", hint=f"the nodes are {', '.join(names)}"
        )


def _advance(vault: Vault, wanted: Wanted, names: Sequence[str]) -> None:
    """Begin the next step if it is its turn; stay where we are if there is something left to do."""
    state = vault.authorities.rotation
    following = state.next(now=0).step
    over = not state.step and state.changed
    unfinished = state.step and state.missing(names)
    if (state.step and wanted.step == state.step) or (unfinished and not wanted.step):
        return
    if over and wanted.step == STEPS[-1]:
        return
    if over and not wanted.step:
        raise SafetyError(
            "the authority has been changed, and no change is under way",
            hint="to change it once more, begin with --step trust",
        )
    if wanted.step not in {"", following}:
        raise SafetyError(
            f"it is not the turn of step {wanted.step}: {state.step or 'no step'} is under way",
            hint="leave --step out, and what is next is done next",
        )
    vault.authorities.advance(names)


def _seen(plan: Plan, vault: Vault, options: Options) -> list[str]:
    """Return the members that are seen to have the step under way."""
    step = vault.authorities.rotation.step
    if step == "issue":
        current = {row.key: row.facts.serial for row in vault.ledger()}
        seen = presented(plan, options.out / OPERATOR)
        wrong = {one.node for one in seen if one.serial != current.get((one.node, one.name))}
        return [node.name for node in plan.members if node.name not in wrong]
    probe, wanted = vault.probe(), {"in" if step == "trust" else "out"}
    return [node.name for node in plan.members if admission(plan, node, probe) == wanted]


def _pieces(oven: Bakery, rotation: Rotation) -> dict[str, renewal.Pieces]:
    """Return what the step under way changes on the nodes that are not known to have it."""
    missing = rotation.missing(node.name for node in oven.plan.nodes)
    if rotation.step == "issue":
        names = {
            holder: frozenset(name for of, name in oven.secrets.leaves if of == holder) for holder in missing
        }
        return {holder: renewal.Pieces(certificates=names[holder]) for holder in missing}
    plan = oven.plan
    return {
        holder: renewal.Pieces(
            trust=True,
            restart=tuple(
                service for one in chosen(plan) for service in one.trusting(plan, plan.node(holder))
            ),
        )
        for holder in missing
    }


def _push(one: Round, archives: Mapping[str, Artifact], ctl: Etcdctl) -> None:
    """Bring the step under way to the nodes."""
    plan, vault = one.oven.plan, one.vault

    def admits(node: NodePlan) -> None:
        _check_admission(plan, vault, node)
        vault.authorities.confirm([node.name])

    def presents(node: NodePlan) -> None:
        one.presents(node)
        vault.authorities.confirm([node.name])

    if vault.authorities.rotation.step == "issue":
        one.lay(archives, presents)
    else:
        one.restart(archives, ctl, admits)
    vault.authorities.confirm(archives)


def _check_admission(plan: Plan, vault: Vault, node: NodePlan) -> None:
    step = vault.authorities.rotation.step
    answer = admission(plan, node, vault.probe())
    if answer != {"in" if step == "trust" else "out"}:
        raise BuildError(
            f"{node.name} has taken step {step}, but does not behave like that: {', '.join(sorted(answer))}",
            hint="look at etcd's log on the node; then run the same again",
        )
