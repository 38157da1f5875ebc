"""The tasks of `./invoke`: parse, call, print."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.tasks import Task, task

import tasks_inputs
import tasks_members
import tasks_provenance
import tasks_publish
import tasks_upkeep
from nodebake import console
from tasks_words import BASE, CA, CONTAINER, HERE, JOBS, MIRROR, OFFLINE, OUT, PROFILE, VAULT

if TYPE_CHECKING:
    from pathlib import Path

    from invoke.context import Context

    from nodebake.manifest import Manifest
    from nodebake.progress import Progress

# Rooms are imported in the tasks that need them: `./invoke --list` must not wait for them.
# ruff: noqa: PLC0415


@task(
    help={
        **PROFILE,
        "node": "build only this node's artefacts",
        **OUT,
        **VAULT,
        **MIRROR,
        **OFFLINE,
        **JOBS,
        **CONTAINER,
    }
)
def build(  # noqa: PLR0913, PLR0917 - the arguments are the command's flags
    _: Context,
    profile: str = "",
    node: str = "",
    out: str = "",
    vault: str = "",
    mirror: str = "",
    jobs: str = "",
    in_container: bool = False,  # noqa: FBT001, FBT002 - a flag
    offline: bool = False,  # noqa: FBT001, FBT002 - a flag
) -> None:
    """Write every node's artefacts, and the operator's files."""
    told = console.Flags(profile=profile, node=node, out=out, vault=vault, mirror=mirror, jobs=jobs)
    flags = replace(told, offline=offline)
    with console.session() as progress:
        done = None if in_container else flags.unchanged()
        if done:
            progress.note("nothing has changed since the last build")
        else:
            done = _build(flags, progress, in_container=in_container)
    console.say(console.built(*done))


@task(
    help={
        **PROFILE,
        "node": "write only this node's image",
        **BASE,
        "zst": "also compressed, with a map of what must be written",
        "snapshot": "what the cluster was restored from, after `restore`",
        **OUT,
        **VAULT,
        **MIRROR,
        **OFFLINE,
        **JOBS,
        **CONTAINER,
    }
)
def image(  # noqa: PLR0913, PLR0917 - the arguments are the command's flags
    _: Context,
    profile: str = "",
    node: str = "",
    base: str = "",
    zst: bool = False,  # noqa: FBT001, FBT002 - a flag
    snapshot: str = "",
    out: str = "",
    vault: str = "",
    mirror: str = "",
    jobs: str = "",
    in_container: bool = False,  # noqa: FBT001, FBT002 - a flag
    offline: bool = False,  # noqa: FBT001, FBT002 - a flag
) -> None:
    """Write a whole image for every node's card or disk, and all that `build` writes."""
    told = console.Flags(profile=profile, node=node, out=out, vault=vault, mirror=mirror, jobs=jobs)
    flags = replace(told, images=True, base=base, zst=zst, snapshot=snapshot, offline=offline)
    with console.session() as progress:
        done = None if in_container else flags.unchanged()
        if done:
            progress.note("nothing has changed since the last build")
        else:
            done = _build(flags, progress, in_container=in_container)
    console.say(console.built(*done))


@task(
    help={
        **PROFILE,
        "scenario": "what happens to the machines, see docs/lab.md; several with commas between them",
        **BASE,
        **OUT,
        **MIRROR,
        **OFFLINE,
    }
)
def boot(
    _: Context,
    profile: str = "",
    scenario: str = "cold",
    base: str = "",
    out: str = "",
    mirror: str = "",
    offline: bool = False,  # noqa: FBT001, FBT002 - a flag
) -> None:
    """Start the artefacts as cold machines in QEMU, and judge them."""
    with console.session() as progress:
        from nodebake import lab

        flags = console.Flags(profile=profile, out=out, base=base, mirror=mirror, offline=offline)
        plan, told = flags.resolved()
        options = lab.Options.of(told, scenario=scenario)
        lab.boot(plan, options=options, progress=progress)
    console.say(f"{plan.name}: {scenario} passed; the report is {options.out / 'lab/report.html'}")


@task(
    help={
        **PROFILE,
        "node": "whose card it becomes",
        "device": "the card's device, such as /dev/sdb: all that is on it is lost",
        "all": "ask for one card after another, for every node",
        "files": "where a card with Alpine is mounted: copy the node's files, in place of a whole image",
        "from": "a publication to pull the node's files from first, into --out",
        "identity": "file with age's private key, for what is encrypted in it",
        **CA,
        "replace": "another node's card may be written over",
        "i_know": "serial number of a device that does not look like a card, and is one",
        "yes": "do not ask",
        **OUT,
        **VAULT,
    }
)
def flash(  # noqa: PLR0913, PLR0917 - the arguments are the command's flags
    _: Context,
    profile: str = "",
    node: str = "",
    device: str = "",
    all_: bool = False,  # noqa: FBT001, FBT002 - a flag
    files: str = "",
    replace: bool = False,  # noqa: FBT001, FBT002 - a flag
    i_know: str = "",
    yes: bool = False,  # noqa: FBT001, FBT002 - a flag
    from_: str = "",
    identity: str = "",
    ca: str = "",
    out: str = "",
    vault: str = "",
) -> None:
    """Write a node's card, and read it back."""
    flags = console.Flags(profile=profile, node=node, out=out, vault=vault)
    with console.session() as progress:
        from nodebake import flash as room

        plan, told = flags.resolved()
        if from_:
            source = tasks_publish.Source(url=from_, node=node, identity=identity, ca=ca)
            tasks_publish.pulled(told.out, source, progress)
        allowed = room.Permission(known=i_know, replace=replace)
        options = room.Options(
            out=told.out,
            vault=told.vault,
            checkout=HERE,
            allowed=allowed,
            yes=yes,
            ask=console.prompt(),
            progress=progress,
        )
        room.run(plan, room.Wanted(node=node, every=all_, device=device, files=files), options)


@task(
    help={
        **PROFILE,
        "diff": "what it means for running nodes that the profile has changed since the last build",
        "json": "as JSON, for programs",
        **OUT,
    }
)
def plan(
    _: Context,
    profile: str = "",
    diff: bool = False,  # noqa: FBT001, FBT002 - a flag
    json: bool = False,  # noqa: FBT001, FBT002 - a flag
    out: str = "",
) -> None:
    """Show what would be built: every decided value and where it came from."""
    flags = console.Flags(profile=profile, out=out)
    with console.session():
        decided, options = flags.resolved()
        if diff:
            from nodebake import upkeep

            rows = upkeep.compare(decided, options)
            show = console.differences_as_json if json else console.differences_as_text
            said = show(options.out, rows)
        else:
            said = console.plan_as_json(decided) if json else console.plan_as_text(decided)
    console.say(said)


@task(help={"markdown": "as the profile reference, for people"})
def schema(_: Context, markdown: bool = False) -> None:  # noqa: FBT001, FBT002 - a flag
    """Print the JSON Schema of a profile, for editors."""
    with console.session():
        from nodebake.profile.load import schema as of_profile
        from nodebake.profile.reference import markdown as as_markdown
    made = of_profile()
    console.say(as_markdown(made).rstrip() if markdown else console.as_json(made))


@task(help={"only": "pytest's -k: run only tests whose names match"})
def test(_: Context, only: str = "") -> None:  # noqa: PT028 - a command, not a test
    """Run the tests: units and real etcd clusters, then the bench, the container and the lab."""
    with console.session() as progress:
        from tests import tools

        tools.provide(progress)
    raise SystemExit(tools.play(HERE / "tests", only))


@task
def lint(_: Context) -> None:
    """Check style, types, the direction of imports, and shell scripts."""
    with console.session() as progress:
        from tests import tools

        tools.lint(HERE, progress)
    console.say("lint: nothing to complain about")


@task(help={"runs": "how often each is measured", "full": "make all 300 nodes by hand: most of an hour"})
def bench(_: Context, runs: int = 3, full: bool = False) -> None:  # noqa: FBT001, FBT002 - a flag
    """Measure builds against the same done by hand with cfssl, envsubst, tar and cloud-localds."""
    from tests.bench.main import main

    main(runs=runs, full=full)


def _build(flags: console.Flags, progress: Progress, *, in_container: bool = False) -> tuple[Path, Manifest]:
    from nodebake import container, pipeline

    plan, options = flags.resolved()
    if in_container:
        job = container.job(plan, options, checkout=HERE, images=flags.images)
        raise SystemExit(container.run(job, progress=progress, say=console.raw))
    for warning in plan.warnings:
        progress.note(f"warning: {warning}")
    make = pipeline.image if flags.images else pipeline.build
    return options.out, make(plan, options=options, progress=progress, ask=console.ask())


ns = Collection(
    *(each for each in vars().values() if isinstance(each, Task)),
    *tasks_publish.TASKS,
    *tasks_upkeep.TASKS,
    *tasks_members.TASKS,
    *tasks_provenance.TASKS,
    *tasks_inputs.TASKS,
)
