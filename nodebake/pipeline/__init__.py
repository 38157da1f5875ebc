"""The whole journey: a profile's name to a plan, a plan to artefacts."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING

from nodebake import plan as core
from nodebake import stamp
from nodebake.components import COMPONENTS
from nodebake.errors import ProfileError
from nodebake.formats.writing import private, replace
from nodebake.pipeline import imaging, outline, result, workshop
from nodebake.pipeline.notes import notes
from nodebake.pipeline.options import Options, inputs
from nodebake.profile.load import Loaded, read
from nodebake.profile.remains import sound
from nodebake.profile.schema import Node
from nodebake.sources.cache import in_use
from nodebake.vault import check_first

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nodebake.manifest import Manifest
    from nodebake.plan import Plan
    from nodebake.progress import Progress

__all__ = ["Options", "build", "image", "resolve", "with_members"]


def resolve(name: str) -> Plan:
    """Return the plan of the profile `name`, a name in `profiles/` or a path.

    Raises:
        ProfileError: with every problem in it.
    """
    return _resolved(read(name))


def with_members(plan: Plan, more: Mapping[str, str]) -> Plan:
    """Return the plan of the same profile with further members.

    Args:
        plan: of the profile.
        more: their addresses with prefix, by name; a node of the same name is left out for it.

    Raises:
        ProfileError: with every problem in it.
    """
    kept = [node for node in plan.profile.nodes if node.name not in more]
    nodes = (*kept, *(Node(name=name, address=(ip_interface(ip),)) for name, ip in more.items()))
    profile = plan.profile.model_copy(update={"nodes": nodes})
    own, *_ = plan.files
    return _resolved(Loaded(name=plan.name, path=own, files=plan.files, profile=profile, marks=plan.marks))


def _resolved(loaded: Loaded) -> Plan:
    plan, problems = core.resolve(loaded)
    for component in COMPONENTS:
        plan, more = component.decide(loaded, plan)
        problems = [*problems, *more]
    if loaded.problems or problems:
        raise ProfileError([*loaded.problems, *sound(problems, loaded.problems)])
    return plan


def build(plan: Plan, *, options: Options, progress: Progress, ask: Callable[[str], str] | None) -> Manifest:
    """Bake and write the artefacts of `plan`.

    Args:
        plan: what to build.
        options: where, and how much.
        progress: told what happens.
        ask: gets a pass phrase from the user; None where nobody can answer.

    Raises:
        ProfileError, UsageError: a node, the vault or the epoch cannot be used; the first where it is a
            value of the profile that says so.
        InputError: an input could not be had or did not verify.
        BuildError: an artefact could not be made or written.
    """
    _check(plan, options)
    with in_use(options.cache):
        manifest, until = _bake(plan, options, progress, ask)
    _leave_stamp(plan, options, until)
    return manifest


def image(plan: Plan, *, options: Options, progress: Progress, ask: Callable[[str], str] | None) -> Manifest:
    """Bake and write the artefacts of `plan`, and a whole image for each node.

    Args and errors are those of `build`; where the operating system's release cannot be had, the other
    artefacts are written all the same.
    """
    imaging.check(plan, options)
    _check(plan, options)
    with in_use(options.cache):
        manifest, until = _bake(plan, options, progress, ask)
        ground = imaging.ground(plan, manifest, options, progress)
        written = imaging.images(plan, manifest, ground, options, progress)
    manifest = result.with_images(manifest, ground.used, written)
    result.finish(options.out, manifest)
    _leave_stamp(plan, options, until)
    return manifest


def _check(plan: Plan, options: Options) -> None:
    """See to what can be known before anything is fetched or written."""
    workshop.nodes(plan, options.node)
    check_first(options.vault, pki=plan.profile.pki, clock=options.epoch)


def _bake(
    plan: Plan, options: Options, progress: Progress, ask: Callable[[str], str] | None
) -> tuple[Manifest, int]:
    """Return what was written, and when the first certificate in it expires."""
    nodes = workshop.nodes(plan, options.node)
    # Before the vault is opened, so that a wrong input does not mint an authority first.
    supplies = workshop.supplies(plan, options, progress)
    with workshop.opened(plan, options, ask) as vault:
        oven = workshop.heat(plan, options, vault, supplies)
        pki, used = plan.profile.pki, oven.secrets.leaves
        for note in notes(vault, pki, used=used, directory=options.vault, snapshot=bool(oven.snapshot)):
            progress.note(note)
        written = oven.nodes(nodes, jobs=options.jobs, progress=progress), oven.operator()
        manifest = result.manifest(plan, options, oven.epoch, oven.fetched, written)
        vault.record(oven.holders(manifest))
        result.finish(oven.out, manifest)
        drawn = outline.outlines(plan, supplies.users)
        made = {node.name: drawn[node.name] for node in nodes}
        outline.write(oven.out, made, others=manifest.nodes, epoch=oven.epoch)
        # The last row of each is the one in use: those before it may have expired long ago.
        ends = {row.key: int(row.facts.not_after.timestamp()) for row in vault.ledger()}
    return manifest, min(ends[key] for key in oven.secrets.leaves)


def _leave_stamp(plan: Plan, options: Options, until: int) -> None:
    if options.stamp:
        text = stamp.make(options.out, inputs(plan, options), until=until)
        replace(private(options.stamp.parent) / options.stamp.name, [text.encode()], epoch=0)
