"""The tasks about what is inside and where it came from; `tasks.py` adds them to its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from invoke.tasks import task

from nodebake import console
from tasks_publish import PUBLISHED, Source, verified
from tasks_words import BASE, CA, MIRROR, OFFLINE, PLACES, PROFILE

if TYPE_CHECKING:
    from invoke.context import Context

# Rooms are imported in the tasks that need them: `./invoke --list` must not wait for them.
# ruff: noqa: PLC0415


@task(
    positional=["file"],
    help={
        "file": "an overlay, a seed's ISO, an archive, a renewal, an image in any form, or a card's device",
        "json": "as JSON, for programs, with every file's digest",
    },
)
def inspect(_: Context, file: str, json: bool = False) -> None:  # noqa: FBT001, FBT002 - a flag
    """Show what a file is, what it contains and when its certificates expire; needs no vault."""
    with console.session():
        from nodebake.inspection import inspect as look_into

        path = Path(file).absolute()
        finding = look_into(path)
    console.say(console.inspected_as_json(finding) if json else console.inspected_as_text(path, finding))


@task(
    help={
        **PLACES,
        "signing_key": "a private key in PEM, Ed25519 or ECDSA (default: the vault's own, made on first use)",
        "new_key": "make another key in the place of the vault's",
    }
)
def sign(
    _: Context,
    profile: str = "",
    out: str = "",
    vault: str = "",
    signing_key: str = "",
    new_key: bool = False,  # noqa: FBT001, FBT002 - a flag
) -> None:
    """Say where a build came from, in a signed statement that lies beside it."""
    with console.session():
        from nodebake import provenance
        from nodebake.vault import signing_key as kept

        plan, options = console.Flags(profile=profile, out=out, vault=vault).resolved()
        own = console.content("--signing-key", signing_key) if signing_key else None
        key = own or kept(options.vault, cluster=plan.profile.cluster.name, anew=new_key)
        verdict = provenance.sign(plan, options.out, key)
    console.say(console.signed_as_text(options.out, None if own else options.vault, key, verdict))


@task(
    help={
        "from": f"directory of the build, or where it is published: {PUBLISHED}",
        "key": "the signer's public key, PEM (default: signing.pub of the vault)",
        "vault": "a vault that has the key (default: NODEBAKE_VAULT, or the only one in vault/ that has one)",
        "node": "only this node's files need be there",
        "identity": "file with age's private key, for what is published encrypted",
        **CA,
    }
)
def verify(
    _: Context,
    from_: str = "",
    key: str = "",
    vault: str = "",
    node: str = "",
    identity: str = "",
    ca: str = "",
) -> None:
    """Check that a build is what its signer signed: signature, every byte, nothing missing or added."""
    with console.session() as progress:
        public = console.verification_key(key, vault)
        if "://" in from_:
            where, done = verified(Source(url=from_, node=node, identity=identity, ca=ca), public, progress)
        else:
            from nodebake import provenance

            out = console.path("--from", from_)
            where, done = str(console.shown(out)), provenance.verify(out, public, node=node)
    console.say(console.verified_as_text(where, done))


@task(
    help={
        **PROFILE,
        "images": "whole images as well",
        **BASE,
        "vault": "the vault, of which copies are used (default: NODEBAKE_VAULT, or vault/<cluster>)",
        **MIRROR,
        **OFFLINE,
    }
)
def reproduce(
    _: Context,
    profile: str = "",
    images: bool = False,  # noqa: FBT001, FBT002 - a flag
    base: str = "",
    vault: str = "",
    mirror: str = "",
    offline: bool = False,  # noqa: FBT001, FBT002 - a flag
) -> None:
    """Build twice under conditions that should not matter, and compare every byte."""
    with console.session() as progress:
        from nodebake import reproducing

        flags = console.Flags(profile=profile, base=base, vault=vault, mirror=mirror, offline=offline)
        plan, options = flags.resolved()
        done = reproducing.reproduce(
            plan, options, images=images, checkout=console.CHECKOUT, progress=progress
        )
    console.say(console.reproduced_as_text(plan, done))


TASKS = (inspect, sign, verify, reproduce)
