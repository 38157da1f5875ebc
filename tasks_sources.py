"""The tasks of `./invoke sources.*`: parse, call, print."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.tasks import task

from nodebake import console
from tasks_words import LOCK

if TYPE_CHECKING:
    from invoke.context import Context


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
        from nodebake.sources import Sources  # noqa: PLC0415 - `./invoke --list` must not wait for it

        sources = Sources(lock=LOCK, cache=console.CACHE, progress=progress)
        told = sources.build(name, version=version, arch=arch or platform.machine())
    console.say(told)


COLLECTION = Collection("sources", build)
