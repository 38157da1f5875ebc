"""The tasks about inputs: where they come from, and how they get to where there is no network."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.tasks import task

from nodebake import console
from tasks_words import BASE, LOCK, MIRROR, PROFILE

if TYPE_CHECKING:
    from invoke.context import Context

# Rooms are imported in the tasks that need them: `./invoke --list` must not wait for them.
# ruff: noqa: PLC0415


@task(
    help={
        **PROFILE,
        "out": "directory for the inputs",
        **MIRROR,
        **BASE,
    }
)
def vendor(_: Context, profile: str = "", out: str = "", mirror: str = "", base: str = "") -> None:
    """Bring every input of build, image and boot into one directory, for --offline --mirror."""
    with console.session() as progress:
        from nodebake import vendoring

        flags = console.Flags(profile=profile, mirror=mirror, base=base)
        (plan, options), directory = flags.resolved(), console.path("--out", out)
        done = vendoring.vendor(plan, options, directory, progress)
    console.say(console.vendored_as_text(plan, directory, done))


@task(help={"prune": "remove what no pin names any more, and what was left half done"})
def cache(_: Context, prune: bool = False) -> None:  # noqa: FBT001, FBT002 - a flag
    """Show what the cache has, and what of it is of no use any more."""
    with console.session():
        from nodebake.sources import keeping

        if prune:
            found, freed = keeping.prune(console.CACHE, LOCK)
        else:
            found, freed = keeping.shelves(console.CACHE, LOCK), None
    console.say(console.cache_as_text(found, freed))


@task(
    help={
        "name": "an input in sources.lock (default: all)",
        "add": "pin this release of it as well, from upstream's list",
    },
)
def lock(_: Context, name: str = "", add: str = "") -> None:
    """Compare pins with upstream's lists of checksums, and note which these confirm."""
    with console.session() as progress:
        from nodebake.sources import confirming
        from nodebake.sources.download import Downloader

        downloader = Downloader(progress=progress)
        if add:
            rows = confirming.add(LOCK, downloader, name=name, version=add)
        else:
            rows = confirming.confirm(LOCK, downloader, name=name)
        console.say(console.confirmed_as_text(rows))
        confirming.check(rows)


@task(
    name="build",
    positional=["name"],
    help={
        "name": "an input in sources.lock, such as flannel or etcd",
        "version": "of the release (default: the newest that can be built)",
        "arch": "of the target: x86_64, aarch64 or armv7 (default: this machine's)",
    },
)
def build(_: Context, name: str, version: str = "", arch: str = "") -> None:
    """Build a pinned release from source with Go, into the cache."""
    with console.session() as progress:
        from nodebake.sources import Sources

        sources = Sources(lock=LOCK, cache=console.CACHE, progress=progress)
        told = sources.build(name, version=version, arch=arch or platform.machine())
    console.say(told)


SOURCES = Collection("sources", build)
TASKS = (vendor, cache, lock, SOURCES)
