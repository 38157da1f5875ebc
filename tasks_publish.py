"""The tasks of a build's way to others; `tasks.py` adds them to its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from nodebake import console

if TYPE_CHECKING:
    from pathlib import Path

    from invoke.context import Context

    from nodebake.manifest import Manifest
    from nodebake.progress import Progress

# Rooms are imported in the tasks that need them: `./invoke --list` must not wait for them.
# ruff: noqa: PLC0415
PLACE = "file:///DIR"


@task(
    iterable=["recipient"],
    help={
        "profile": "a name in profiles/, or the path of a profile",
        "to": f"the place: {PLACE}",
        "recipient": "age public key of one who may read the nodes' secrets; as often as need be",
        "plaintext_secrets": "everybody who can pull may read the nodes' secrets",
        "force": "replace another publication that is there",
        "out": "directory of the build (default: build/<profile>)",
    },
)
def publish(
    _: Context,
    recipient: list[str],
    profile: str = "",
    to: str = "",
    plaintext_secrets: bool = False,  # noqa: FBT001, FBT002 - a flag
    force: bool = False,  # noqa: FBT001, FBT002 - a flag
    out: str = "",
) -> None:
    """Publish what was built, so that it can be pulled and flashed elsewhere."""
    with console.session() as progress:
        from nodebake import pipeline
        from nodebake import publish as room

        flags = console.Flags(profile=profile, out=out)
        place = room.opened(to, "--to")
        wanted = room.Push(
            out=flags.options(pipeline.resolve(flags.named())).out,
            recipients=tuple(recipient),
            plaintext=plaintext_secrets,
            force=force,
        )
        done = room.publish(place, wanted, progress)
    console.say(console.published(place.name, done))


@task(
    help={
        "from": f"the place: {PLACE}",
        "node": "only this node's files",
        "identity": "file with age's private key, for what is encrypted",
        "out": "directory to write (default: build/<profile>)",
    }
)
def pull(_: Context, from_: str = "", node: str = "", identity: str = "", out: str = "") -> None:
    """Get what was published, bit for bit as it was built."""
    with console.session() as progress:
        to = console.path("--out", out) if out else None
        where, manifest = pulled(to, from_, node, identity, progress)
    console.say(console.pulled(where, manifest, node))


def pulled(out: Path | None, url: str, node: str, identity: str, progress: Progress) -> tuple[Path, Manifest]:
    """Pull a node's files into `out`, or every node's if it is empty."""
    from nodebake import publish as room

    key = console.path("--identity", identity) if identity else None
    place = room.opened(url, "--from")
    wanted = room.Pull(out=out, builds=console.CHECKOUT / "build", node=node, identity=key)
    return room.pull(place, wanted, progress)


TASKS = (publish, pull)
