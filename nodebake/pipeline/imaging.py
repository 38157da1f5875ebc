"""From what a build wrote to whole images."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from nodebake.bases import alpine
from nodebake.components.base import BasePart
from nodebake.errors import BuildError, InputError, UsageError
from nodebake.formats import card
from nodebake.formats.card.layout import up
from nodebake.manifest import UsedInput
from nodebake.pipeline.abreast import abreast
from nodebake.sources import Sources, Want

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.formats.card import Card
    from nodebake.manifest import Artifact, Manifest
    from nodebake.pipeline.options import Options
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress

_ON_CARD = {"apkovl": 1, "boot": 2}
"""Kinds of artefacts that a card takes, with how many directories they lie in under the build's own."""
# Bytes that a node's own files are reckoned to, so that most nodes share one base.
_ROOM = 32 << 20


def check(plan: Plan, options: Options) -> None:
    """See that there can be images of `plan`.

    Raises:
        UsageError: there cannot be any, or the base that was named is not there.
        InputError: a tool is not installed.
    """
    machine = plan.profile.machine
    if alpine.flavour(plan) is None:
        what = f"{machine.os} on {plan.board.name} ({plan.arch})"
        hint = "there are of alpine on a Raspberry Pi, and on vm with x86_64"
        raise UsageError(f"{plan.name}: there are no images of {what}", hint=hint)
    if "apkovl" not in plan.profile.outputs:
        raise UsageError(f"{plan.name}: an image needs the node's overlay", hint="add apkovl to outputs")
    if options.base and not options.base.is_file():
        raise UsageError(f"--base {options.base} is not a file")
    card.ready(pc=plan.board.firmware is None)


def cards(
    plan: Plan, manifest: Manifest, options: Options, progress: Progress
) -> tuple[dict[str, Card], UsedInput]:
    """Return what images have in common, by node, and what it was made of.

    Raises:
        InputError: the operating system's release could not be had; says what was built all the same.
        BuildError: it could not be put onto a partition.
    """
    flavour, bases = alpine.flavour(plan) or alpine.RPI, options.cache / "bases"
    sources = Sources(lock=options.lock, cache=options.cache, mirror=options.mirror, progress=progress)
    # A node's own size decides, and not its neighbours': it is the same node whether they are built or not.
    rooms = {
        name: up(sum(item.size for item in items if item.kind in _ON_CARD), _ROOM)
        for name, items in manifest.nodes.items()
        if options.node in {"", name}
    }
    try:
        path, used = release(plan, flavour, options.base, sources)
        made = {
            room: alpine.card(flavour, path, used.sha256, room=room, cache=bases, progress=progress)
            for room in sorted(set(rooms.values()))
        }
    except InputError as error:
        raise _not_had(error, manifest, options) from error
    except OSError as error:
        raise BuildError(f"{bases} cannot be written: {error.strerror}") from error
    forms: list[tuple[card.Form, bool]] = [("qcow2", plan.board.firmware is None), ("zst", options.zst)]
    return {
        name: replace(with_data(plan, made[room]), forms=tuple(form for form, use in forms if use))
        for name, room in rooms.items()
    }, used


def release(
    plan: Plan, flavour: alpine.Flavour, base: Path | None, sources: Sources
) -> tuple[Path, UsedInput]:
    """Return the operating system's release: the file `base`, or the pinned one.

    Raises:
        InputError: it could not be had.
    """
    version = plan.profile.machine.release or plan.board.alpine
    want = Want(name=flavour.name, version=version, arch=plan.arch, files=())
    return _given(base, want) if base else sources.file(want)


def with_data(plan: Plan, card: Card) -> Card:
    """Return `card` with the data partition that the profile asks for."""
    data = plan.profile.machine.data
    return replace(card, label=_label(plan), data=data.size if data and data.size else plan.board.data)


def images(
    plan: Plan, manifest: Manifest, shared: Mapping[str, Card], options: Options, progress: Progress
) -> dict[str, tuple[Artifact, ...]]:
    """Write the images of the nodes that `shared` has something for; return them by node.

    Raises:
        InputError: a tool is not installed.
        BuildError: one could not be written.
    """

    def write(node: NodePlan) -> tuple[Artifact, ...]:
        files = contents(manifest.nodes[node.name], options.out)
        out = options.out / node.name
        return card.write(plan, node, shared[node.name], files, out=out, epoch=manifest.epoch)

    nodes = [node for node in plan.nodes if node.name in shared]
    return abreast(nodes, write, task=f"imaging {plan.name}", jobs=options.jobs, progress=progress)


def _label(plan: Plan) -> str:
    """Return the label of the data partition, if it is on the disk that the node starts from."""
    data = plan.profile.machine.data
    return data.device.removeprefix("LABEL=") if data and plan.part(BasePart).grown else ""


def contents(items: tuple[Artifact, ...], out: Path) -> dict[str, Path]:
    """Return what of a node's artefacts its card gets, by its place there."""
    return {
        "/".join(item.path.split("/")[_ON_CARD[item.kind] :]): out / item.path
        for item in items
        if item.kind in _ON_CARD
    }


def _given(path: Path, want: Want) -> tuple[Path, UsedInput]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    named = re.search(r"-(\d+(?:\.\d+)+\w*)-", path.name)
    version = named[1] if named else "unknown"
    return path, UsedInput(name=want.name, version=version, arch=want.arch, source=path.name, sha256=sha256)


def _not_had(why: InputError, manifest: Manifest, options: Options) -> InputError:
    return InputError(
        f"no images were written: {why}",
        hint=f"{len(manifest.nodes)} nodes' overlays and boot files were written all the same, "
        f"to {options.out}.\n  The release can come in three ways: --base FILE; "
        f"--mirror DIRECTORY_OR_URL that has it; or put into {options.cache / 'archives'}",
    )
