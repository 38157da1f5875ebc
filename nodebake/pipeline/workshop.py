"""What every verb that bakes begins with: the nodes, the programs, the open vault, the heated oven."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.components import chosen
from nodebake.errors import InputError, ProfileError, UsageError
from nodebake.formats.writing import private
from nodebake.pipeline import bakery, outline
from nodebake.sources import Sources
from nodebake.sources.lock import read
from nodebake.vault import open_vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from nodebake.pipeline.options import Options
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress
    from nodebake.sources import Fetched
    from nodebake.tree import Tree
    from nodebake.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplies:
    """What is baked in besides secrets.

    Attributes:
        fetched: programs by the name they were wanted by.
        users: the user's own files.
        licences: of the programs, by the names of their inputs.
    """

    fetched: Mapping[str, Fetched]
    users: Tree
    licences: Mapping[str, str]


def nodes(plan: Plan, name: str) -> tuple[NodePlan, ...]:
    """Return the node called `name`, or all of them if it is empty.

    Raises:
        UsageError: there is none of that name.
    """
    found = tuple(node for node in plan.nodes if name in {"", node.name})
    if not found:
        names = ", ".join(node.name for node in plan.nodes)
        raise UsageError(f"{plan.name} has no node {name}", hint=f"its nodes are {names}")
    return found


def supplies(plan: Plan, options: Options, progress: Progress) -> Supplies:
    """Return everything that the nodes of `plan` are baked from but secrets.

    Raises:
        ProfileError, UsageError: the user's files cannot be read.
        InputError: a program could not be had or did not verify.
    """
    given = users(plan)
    fetched = _fetch(plan, options, progress)
    return Supplies(fetched=fetched, users=given, licences=read(options.lock).licences)


def users(plan: Plan) -> Tree:
    """Return the user's own files.

    Raises:
        ProfileError, UsageError: they cannot be read.
    """
    with _placed(plan):
        return bakery.user_overlays(plan)


@contextmanager
def opened(plan: Plan, options: Options, ask: Callable[[str], str] | None) -> Iterator[Vault]:
    """Give the open vault of `plan`; errors about what stands in the profile have their lines.

    Raises:
        ProfileError, UsageError, BuildError: see `open_vault`.
    """
    with (
        _placed(plan),
        open_vault(
            options.vault,
            cluster=plan.profile.cluster.name,
            pki=plan.profile.pki,
            profile_dir=plan.directory,
            ask=ask,
            environ=options.environ,
        ) as vault,
    ):
        yield vault


def heat(plan: Plan, options: Options, vault: Vault, given: Supplies) -> bakery.Bakery:
    """Return what bakes the nodes of `plan` with what the open vault has now; what is missing is issued.

    Raises:
        UsageError: the vault or the epoch cannot be used.
        BuildError: the disk is full or failed.
    """
    vault.give(outline.digest(plan, given.users))
    secrets = bakery.Secrets(
        leaves=vault.leaves([*bakery.requests(plan), *vault.operators()], clock=options.epoch),
        host_keys=vault.host_keys([node.name for node in plan.nodes]),
        trust=vault.trust,
        revocations=vault.revocations(),
        token=vault.token,
        founding=vault.founding,
        authorities=vault.further(want for component in chosen(plan) for want in component.authorities(plan)),
        secret=vault.secret,
    )
    epoch = vault.epoch if options.epoch is None else options.epoch
    return bakery.Bakery(
        plan=plan,
        secrets=secrets,
        fetched=given.fetched,
        users=given.users,
        epoch=epoch,
        out=private(options.out),
        snapshot=_snapshot(vault, options.snapshot) if options.snapshot else b"",
        digest=plan.digest(),
        licences=given.licences,
    )


def _snapshot(vault: Vault, path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != vault.founding.snapshot:
        raise UsageError(
            f"{path} is not what the cluster was last restored from", hint=f"./invoke restore --file {path}"
        )
    return content


@contextmanager
def _placed(plan: Plan) -> Iterator[None]:
    """Put errors about values that stand in the profile at their lines."""
    try:
        yield
    except UsageError as error:
        if not plan.marks.nearest(error.path):
            raise
        raise ProfileError([plan.marks.problem(error.path, error.what, error.hint)]) from error


def _fetch(plan: Plan, options: Options, progress: Progress) -> Mapping[str, Fetched]:
    sources = Sources.of(options, progress)
    wants = dict.fromkeys(want for component in chosen(plan) for want in component.wants(plan))
    fetched: dict[str, Fetched] = {}
    whys: list[str] = []
    for want in wants:
        try:
            fetched[want.name] = sources.fetch(want)
        except InputError as error:
            whys.append(str(error))
    if whys:
        raise InputError("\n".join(whys))
    for want in wants:
        if fetched[want.name].fallback:
            used = ", ".join(f"{one.version} from {one.source}" for one in fetched[want.name].used)
            progress.note(f"{want}: used {used}, because {fetched[want.name].fallback}")
    return fetched
