"""The tasks that change what a running cluster is made of, or save it; `tasks.py` adds them to its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from nodebake import console
from tasks_words import PLACES, PUSH

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


@task(
    name="replace",
    help={
        **PLACES,
        **PUSH,
        "node": "the dead member",
        "live": "tell the running cluster, too: remove the old member, add the new one",
        "again": "begin anew with a member that is being replaced already",
    },
)
def replace(  # noqa: PLR0913, PLR0917 - the arguments are the command's flags
    _: Context,
    profile: str = "",
    node: str = "",
    out: str = "",
    vault: str = "",
    live: bool = False,  # noqa: FBT001, FBT002 - a flag
    again: bool = False,  # noqa: FBT001, FBT002 - a flag
    push: bool = False,  # noqa: FBT001, FBT002 - a flag
    identity: str = "",
) -> None:
    """Put a new machine in the place of a dead member: its certificates, its artefact, the cluster's list."""
    with console.session() as progress:
        from nodebake import upkeep

        plan, options = console.Flags(profile=profile, out=out, vault=vault).resolved()
        ssh = console.ssh(options, identity, push=push)
        wanted = upkeep.Replacement(node=node, live=live, again=again, push=ssh)
        done = upkeep.exchange(plan, options, wanted, progress=progress, ask=console.ask())
    console.say(console.replaced_as_text(plan, options.out, done))


@task(name="backup", help={**PLACES, "file": "the snapshot to write; it must not be there"})
def backup(_: Context, profile: str = "", file: str = "", out: str = "", vault: str = "") -> None:
    """Save a snapshot of the running cluster's data, and check that it is whole."""
    with console.session():
        from nodebake import upkeep

        plan, options = console.Flags(profile=profile, out=out, vault=vault).resolved()
        done = upkeep.backup(plan, options, console.path("--file", file))
    counted = f", {done.keys} keys, revision {done.revision}" if done.revision >= 0 else ""
    console.say(f"{done.path}: {done.size} bytes{counted}")


@task(
    name="restore",
    help={**PLACES, "file": "a snapshot that backup, or etcdctl snapshot save, wrote"},
)
def restore(_: Context, profile: str = "", file: str = "", out: str = "", vault: str = "") -> None:
    """Write artefacts whose members found a new cluster from a snapshot, on empty data partitions."""
    with console.session() as progress:
        from nodebake import upkeep

        plan, options = console.Flags(profile=profile, out=out, vault=vault).resolved()
        snapshot = console.path("--file", file)
        manifest = upkeep.restore(plan, options, snapshot, progress=progress, ask=console.ask())
    console.say(console.built(options.out, manifest))
    console.say(
        f"restored from {snapshot.name}: install every member anew from these artefacts, each with an empty "
        "data partition"
    )


TASKS = (members, upgrade, replace, backup, restore)
