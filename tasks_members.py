"""The tasks that change what a running cluster is made of; `tasks.py` adds them to its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from nodebake import console
from tasks_upkeep import PLACES, PUSH

if TYPE_CHECKING:
    from invoke.context import Context

# Rooms are imported in the tasks that need them: `./invoke --list` must not wait for them.
# ruff: noqa: PLC0415


@task(
    name="members",
    help={**PLACES, **PUSH, "live": "change the running cluster; without it, only say what is to be done"},
)
def members(
    _: Context,
    profile: str = "",
    out: str = "",
    vault: str = "",
    live: bool = False,  # noqa: FBT001, FBT002 - a flag
    push: bool = False,  # noqa: FBT001, FBT002 - a flag
    identity: str = "",
) -> None:
    """Make a running cluster's members those of the profile: added, promoted, moved, removed."""
    with console.session() as progress:
        from nodebake import upkeep

        plan, options = console.Flags(profile=profile, out=out, vault=vault).resolved()
        wanted = upkeep.Adjustment(live=live, push=console.ssh(options, identity, push=push))
        done = upkeep.adjust(plan, options, wanted, progress=progress, ask=console.ask())
    console.say(console.adjusted_as_text(options.out, done))


@task(name="upgrade", help={**PLACES, **PUSH})
def upgrade(
    _: Context,
    profile: str = "",
    out: str = "",
    vault: str = "",
    push: bool = False,  # noqa: FBT001, FBT002 - a flag
    identity: str = "",
) -> None:
    """Bring the profile's release of etcd, and its settings, to the running members, one after the other."""
    with console.session() as progress:
        from nodebake import upkeep

        plan, options = console.Flags(profile=profile, out=out, vault=vault).resolved()
        ssh = console.ssh(options, identity, push=push)
        done = upkeep.upgrade(plan, options, ssh, progress=progress, ask=console.ask())
    console.say(console.upgraded_as_text(plan, options.out, done))


TASKS = (members, upgrade)
