"""From what a build wrote to whole images."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from nodebake.bases import alpine
from nodebake.errors import BuildError, InputError, UsageError
from nodebake.formats import card
from nodebake.manifest import UsedInput
from nodebake.pipeline.abreast import abreast
from nodebake.sources import Sources, Want

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.formats.card import Card
    from nodebake.manifest import Artifact, Manifest
    from nodebake.pipeline.options import Options
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress

_ON_CARD = {"apkovl": 1, "boot": 2}
"""Kinds of artefacts that a card takes, with how many directories they lie in under the build's own."""


def check(plan: Plan) -> None:
    """See that there can be images of `plan`.

    Raises:
        UsageError: there cannot be any.
    """
    if plan.profile.machine.os != "alpine" or plan.board.firmware != "raspberrypi":
        raise UsageError(
            f"{plan.name}: there are no images for {plan.profile.machine.os} on {plan.board.name}"
        )
    if "apkovl" not in plan.profile.outputs:
        raise UsageError(f"{plan.name}: an image needs the node's overlay", hint="add apkovl to outputs")


def base(plan: Plan, manifest: Manifest, options: Options, progress: Progress) -> tuple[Card, UsedInput]:
    """Return what all images have in common, and what it was made of.

    Raises:
        InputError: the operating system's release could not be had; says what was built all the same.
        BuildError: it could not be put onto a partition.
    """
    want = Want(name="alpine-rpi", version="3.22.1", arch=plan.arch, files=())
    try:
        path, used = _given(options.base, want) if options.base else _pinned(want, options, progress)
    except InputError as error:
        raise _not_had(error, manifest, options) from error
    room = max(sum(item.size for item in items if item.kind in _ON_CARD) for items in manifest.nodes.values())
    try:
        made = alpine.card(path, used.sha256, room=room, cache=options.cache / "bases", progress=progress)
    except OSError as error:
        raise BuildError(f"{options.cache / 'bases'}: {error.strerror}") from error
    return made, used


def images(
    plan: Plan, manifest: Manifest, shared: Card, options: Options, progress: Progress
) -> dict[str, tuple[Artifact, ...]]:
    """Write an image for every node that was built; return them by node.

    Raises:
        InputError: a tool is not installed.
        BuildError: one could not be written.
    """

    def write(node: NodePlan) -> tuple[Artifact, ...]:
        files = _files(manifest.nodes[node.name], options.out)
        return (card.write(plan, node, shared, files, out=options.out / node.name, epoch=manifest.epoch),)

    nodes = [node for node in plan.nodes if options.node in {"", node.name}]
    return abreast(nodes, write, task=f"imaging {plan.name}", jobs=options.jobs, progress=progress)


def _files(items: tuple[Artifact, ...], out: Path) -> dict[str, Path]:
    """Return what a node's card gets, by its place there."""
    return {
        "/".join(item.path.split("/")[_ON_CARD[item.kind] :]): out / item.path
        for item in items
        if item.kind in _ON_CARD
    }


def _pinned(want: Want, options: Options, progress: Progress) -> tuple[Path, UsedInput]:
    return Sources(lock=options.lock, cache=options.cache, mirror=options.mirror, progress=progress).file(
        want
    )


def _given(path: Path, want: Want) -> tuple[Path, UsedInput]:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"--base {path}: {error.strerror}") from error
    named = re.search(r"-(\d+(?:\.\d+)+\w*)-", path.name)
    version = named[1] if named else "unknown"
    return path, UsedInput(name=want.name, version=version, arch=want.arch, source=path.name, sha256=sha256)


def _not_had(why: InputError, manifest: Manifest, options: Options) -> InputError:
    what = str(why).partition("\n")[0]
    return InputError(
        f"no images were written: {what}",
        hint=f"{len(manifest.nodes)} nodes' overlays and boot files were written all the same, "
        f"to {options.out}.\n  The release can come in three ways: --base FILE; "
        f"--mirror DIRECTORY_OR_URL that has it; or put into {options.cache / 'archives'}",
    )
