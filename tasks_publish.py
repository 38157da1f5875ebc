"""The tasks of a build's way to others; `tasks.py` adds them to its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from invoke.tasks import task

from nodebake import console
from tasks_words import CA, OUT, PROFILE

if TYPE_CHECKING:
    from pathlib import Path

    from invoke.context import Context

    from nodebake.manifest import Manifest
    from nodebake.progress import Progress
    from nodebake.provenance import Verified

# Rooms are imported in the tasks that need them: `./invoke --list` must not wait for them.
# ruff: noqa: PLC0415
PLACE = "file:///DIR, oci://REGISTRY/REPOSITORY:TAG, s3://BUCKET/PREFIX"
PUBLISHED = f"{PLACE}, https://HOST/DIR"


@task(
    iterable=["recipient"],
    help={
        **PROFILE,
        "to": f"the place: {PLACE}",
        "recipient": "age public key of one who may read the nodes' secrets; as often as need be",
        "plaintext_secrets": "everybody who can pull may read the nodes' secrets",
        **CA,
        "force": "replace another publication that is there",
        **OUT,
    },
)
def publish(  # noqa: PLR0913, PLR0917 - the arguments are the command's flags
    _: Context,
    recipient: list[str],
    profile: str = "",
    to: str = "",
    plaintext_secrets: bool = False,  # noqa: FBT001, FBT002 - a flag
    force: bool = False,  # noqa: FBT001, FBT002 - a flag
    ca: str = "",
    out: str = "",
) -> None:
    """Publish what was built, so that it can be pulled and flashed elsewhere."""
    with console.session() as progress:
        from nodebake import publish as room

        flags = console.Flags(profile=profile, out=out)
        wanted = room.Push(
            out=flags.resolved()[1].out,
            recipients=tuple(recipient),
            plaintext=plaintext_secrets,
            force=force,
        )
        authority = console.path("--ca", ca) if ca else None
        with room.opened(to, "--to", authority) as place:
            done = room.publish(place, wanted, progress)
    console.say(console.published(place.name, done))


@task(
    help={
        "from": f"the place: {PUBLISHED}",
        "node": "only this node's files",
        "identity": "file with age's private key, for what is encrypted",
        **CA,
        **OUT,
    }
)
def pull(
    _: Context, from_: str = "", node: str = "", identity: str = "", ca: str = "", out: str = ""
) -> None:
    """Get what was published, bit for bit as it was built."""
    with console.session() as progress:
        to = console.path("--out", out) if out else None
        where, manifest = pulled(to, Source(url=from_, node=node, identity=identity, ca=ca), progress)
    console.say(console.pulled(where, manifest, node))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What to pull, as it was typed; empty for what was not."""

    url: str
    node: str
    identity: str
    ca: str


def pulled(out: Path | None, source: Source, progress: Progress) -> tuple[Path, Manifest]:
    """Pull a node's files into `out`, or every node's."""
    from nodebake import publish as room

    key = console.path("--identity", source.identity) if source.identity else None
    ca = console.path("--ca", source.ca) if source.ca else None
    wanted = room.Pull(out=out, builds=console.CHECKOUT / "build", node=source.node, identity=key)
    with room.source(source.url, "--from", ca) as place:
        return room.pull(place, wanted, progress)


def verified(source: Source, public: bytes, progress: Progress) -> tuple[str, Verified]:
    """Check what is published against a public key; return what the place is called, and what was found."""
    from nodebake import publish as room

    identity = console.path("--identity", source.identity) if source.identity else None
    ca = console.path("--ca", source.ca) if source.ca else None
    with room.source(source.url, "--from", ca) as place:
        return place.name, room.verify(place, public, progress, node=source.node, identity=identity)


TASKS = (publish, pull)
