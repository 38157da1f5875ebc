"""The whole journey: a profile's name to a plan, a plan to artefacts."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from nodebake import plan as core
from nodebake import stamp
from nodebake.components import COMPONENTS, chosen
from nodebake.errors import ProfileError, UsageError
from nodebake.formats.writing import private, replace
from nodebake.pipeline import bakery, imaging, result
from nodebake.pipeline.notes import notes
from nodebake.pipeline.options import Options, inputs
from nodebake.profile.load import read
from nodebake.profile.remains import sound
from nodebake.sources import Sources
from nodebake.vault import check_first, open_vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from nodebake.manifest import Manifest
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress
    from nodebake.sources import Fetched
    from nodebake.vault import Vault

__all__ = ["Options", "build", "image", "resolve"]


def resolve(name: str) -> Plan:
    """Return the plan of the profile `name`, a name in `profiles/` or a path.

    Raises:
        ProfileError: with every problem in it.
    """
    loaded = read(name)
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
    manifest, until = _bake(plan, options, progress, ask)
    _leave_stamp(plan, options, until)
    return manifest


def image(plan: Plan, *, options: Options, progress: Progress, ask: Callable[[str], str] | None) -> Manifest:
    """Bake and write the artefacts of `plan`, and a whole image for each node.

    Args and errors are those of `build`; where the operating system's release cannot be had, the other
    artefacts are written all the same.
    """
    imaging.check(plan, options)
    manifest, until = _bake(plan, options, progress, ask)
    shared, used = imaging.cards(plan, manifest, options, progress)
    manifest = result.with_images(manifest, used, imaging.images(plan, manifest, shared, options, progress))
    result.finish(options.out, manifest)
    _leave_stamp(plan, options, until)
    return manifest


def _bake(
    plan: Plan, options: Options, progress: Progress, ask: Callable[[str], str] | None
) -> tuple[Manifest, int]:
    """Return what was written, and when the first certificate in it expires."""
    nodes = _chosen(plan, options.node)
    with _placed(plan):
        users = bakery.user_overlays(plan)
    check_first(options.vault, pki=plan.profile.pki, clock=options.epoch)
    # Before the vault is opened, so that a wrong input does not mint an authority first.
    fetched = _fetch(plan, options, progress)
    with _placed(plan), _vault(plan, options, ask) as vault:
        secrets = _secrets(plan, vault, options.epoch)
        for note in notes(vault, plan.profile.pki, used=secrets.leaves, directory=options.vault):
            progress.note(note)
        epoch = vault.epoch if options.epoch is None else options.epoch
        out = private(options.out)
        oven = bakery.Bakery(plan=plan, secrets=secrets, fetched=fetched, users=users, epoch=epoch, out=out)
        written = oven.nodes(nodes, jobs=options.jobs, progress=progress), oven.operator()
        manifest = result.manifest(plan, options, epoch, fetched, written)
        vault.record(oven.holders(manifest))
        result.finish(out, manifest)
        # The last row of each is the one in use: those before it may have expired long ago.
        ends = {row.key: int(row.facts.not_after.timestamp()) for row in vault.ledger()}
    return manifest, min(ends[key] for key in secrets.leaves)


def _chosen(plan: Plan, name: str) -> tuple[NodePlan, ...]:
    chosen = tuple(node for node in plan.nodes if name in {"", node.name})
    if not chosen:
        names = ", ".join(node.name for node in plan.nodes)
        raise UsageError(f"{plan.name} has no node {name}", hint=f"its nodes are {names}")
    return chosen


def _vault(plan: Plan, options: Options, ask: Callable[[str], str] | None) -> AbstractContextManager[Vault]:
    return open_vault(
        options.vault,
        cluster=plan.profile.cluster.name,
        pki=plan.profile.pki,
        profile_dir=plan.directory,
        ask=ask,
        environ=options.environ,
    )


@contextmanager
def _placed(plan: Plan) -> Iterator[None]:
    """Put errors about values that stand in the profile at their lines."""
    try:
        yield
    except UsageError as error:
        if not plan.marks.nearest(error.path):
            raise
        raise ProfileError([plan.marks.problem(error.path, error.what, error.hint)]) from error


def _secrets(plan: Plan, vault: Vault, clock: int | None) -> bakery.Secrets:
    return bakery.Secrets(
        leaves=vault.leaves(bakery.requests(plan), clock=clock),
        host_keys=vault.host_keys([node.name for node in plan.nodes]),
        trust=vault.authority.trust,
        token=vault.token,
    )


def _fetch(plan: Plan, options: Options, progress: Progress) -> Mapping[str, Fetched]:
    sources = Sources(lock=options.lock, cache=options.cache, mirror=options.mirror, progress=progress)
    wants = dict.fromkeys(want for component in chosen(plan) for want in component.wants(plan))
    fetched = {want.name: sources.fetch(want) for want in wants}
    for want in wants:
        if fetched[want.name].fallback:
            used = ", ".join(f"{one.version} from {one.source}" for one in fetched[want.name].used)
            progress.note(f"{want}: used {used}, because {fetched[want.name].fallback}")
    return fetched


def _leave_stamp(plan: Plan, options: Options, until: int) -> None:
    if options.stamp:
        text = stamp.make(options.out, inputs(plan, options), until=until)
        replace(private(options.stamp.parent) / options.stamp.name, [text.encode()], epoch=0)
