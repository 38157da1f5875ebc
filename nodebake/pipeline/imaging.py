"""From what a build wrote to whole images."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.bases import alpine, debian, packages
from nodebake.components.base import BasePart
from nodebake.errors import BuildError, InputError, UsageError
from nodebake.formats import card
from nodebake.manifest import UsedInput
from nodebake.pipeline.abreast import abreast
from nodebake.provenance import bill
from nodebake.sources import Sources, Want
from nodebake.sources.cache import SCRATCH, digest
from nodebake.sources.lock import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nodebake.formats.card import Card
    from nodebake.manifest import Artifact, Manifest
    from nodebake.pipeline.options import Options
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress

_ON_BOOT = {"apkovl": 1, "boot": 2}
"""Kinds of artefacts for the boot partition, with how many directories they lie in under the build's own."""


def check(plan: Plan, options: Options) -> None:
    """See that there can be images of `plan`.

    Raises:
        UsageError: there cannot be any, or the base that was named is not there.
        InputError: a tool is not installed.
    """
    pi = plan.board.firmware == "raspberrypi"
    debian_pi = plan.profile.machine.os == "debian" and pi
    if alpine.flavour(plan) is None and not debian_pi:
        what = f"{plan.profile.machine.os} on {plan.board.name} ({plan.arch})"
        hint = "there are of either on a Raspberry Pi, and of alpine on vm with x86_64"
        raise UsageError(f"{plan.name}: there are no images of {what}", hint=hint)
    needed = "rootfs" if debian_pi else "apkovl"
    if needed not in plan.profile.outputs:
        raise UsageError(f"{plan.name}: an image is made of {needed}", hint=f"add {needed} to outputs")
    if options.base and not options.base.is_file():
        raise UsageError(f"--base {options.base} is not a file")
    card.ready(pc=not pi)
    if debian_pi:
        debian.ready(options.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What images of one build have in common.

    Attributes:
        cards: what a node's image starts as, by node.
        used: what it was made of.
        system: the components of the operating system, for bills of materials.
    """

    cards: Mapping[str, Card]
    used: UsedInput
    system: Sequence[Mapping[str, object]]


def ground(plan: Plan, manifest: Manifest, options: Options, progress: Progress) -> Ground:
    """Return what images have in common.

    Raises:
        InputError: the operating system could not be had; says what was built all the same.
        BuildError: it could not be put onto a partition.
    """
    make = _of_alpine if plan.profile.machine.os == "alpine" else _of_debian
    nodes = {name: items for name, items in manifest.nodes.items() if options.node in {"", name}}
    try:
        made, used = make(plan, nodes, options, progress)
        licences = read(options.lock).licences
        system = bill.packages(_packages(next(iter(made.values()))), used, licences=licences)
    except InputError as error:
        raise _not_had(error, plan, manifest, options) from error
    except OSError as error:
        raise _unwritten(options.cache / "bases", error) from error
    wanted: list[tuple[card.Form, bool]] = [("qcow2", plan.board.firmware is None), ("zst", options.zst)]
    forms = tuple(form for form, use in wanted if use)
    cards = {name: replace(one, forms=forms) for name, one in made.items()}
    return Ground(cards=cards, used=used, system=system)


def _unwritten(bases: Path, error: OSError) -> BuildError:
    return BuildError(f"{bases} cannot be written: {error.strerror}")


def _packages(card: Card) -> tuple[packages.Package, ...]:
    return packages.of_root(card.root) if card.root else packages.of_medium(card.boot)


def _of_alpine(
    plan: Plan, nodes: Mapping[str, tuple[Artifact, ...]], options: Options, progress: Progress
) -> tuple[dict[str, Card], UsedInput]:
    flavour, bases = alpine.flavour(plan) or alpine.RPI, options.cache / "bases"
    sources = Sources.of(options, progress)
    path, used = release(plan, flavour, options.base, sources)
    # A node's own size decides, and not its neighbours': it is the same node whether they are built or not.
    sizes = {
        name: alpine.steps(item.size for item in items if item.kind in _ON_BOOT)
        for name, items in nodes.items()
    }
    made = {
        own: alpine.card(flavour, path, used.sha256, own=own, cache=bases, progress=progress)
        for own in sorted(set(sizes.values()))
    }
    return {name: made[own] for name, own in sizes.items()}, used


def _of_debian(
    plan: Plan, nodes: Mapping[str, tuple[Artifact, ...]], options: Options, progress: Progress
) -> tuple[dict[str, Card], UsedInput]:
    made, used = debian.card(
        archive(plan, options), options.base, cache=options.cache / "bases", progress=progress
    )
    return dict.fromkeys(nodes, made), used


def archive(plan: Plan, options: Options) -> debian.Archive:
    """Return where Debian's packages come from, and which the nodes of `plan` have besides."""
    told = read(options.lock).debian
    return debian.Archive(
        mirror=told.mirror,
        suite=told.suite,
        keyrings=told.keyrings,
        packages=plan.needs.packages,
        vendored=options.mirror,
        offline=options.offline,
    )


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


def data(plan: Plan, image: Path, *, epoch: int) -> card.Made | None:
    """Return the empty data partition that a node's disk has, made as the new file `image`, if it has one.

    Raises:
        InputError: a tool is not installed.
        BuildError: it could not be made.
    """
    told = plan.profile.machine.data
    if not told or not plan.part(BasePart).grown:
        return None  # or it is on another disk
    label = told.device.removeprefix("LABEL=")
    return card.empty(image, told.size or plan.board.data, label=label, epoch=epoch)


def images(
    plan: Plan, manifest: Manifest, given: Ground, options: Options, progress: Progress
) -> dict[str, tuple[Artifact, ...]]:
    """Write the images of the nodes that have a card in `given`; return them by node.

    Raises:
        InputError: a tool is not installed.
        BuildError: one could not be written.
    """
    epoch, bases = manifest.epoch, options.cache / "bases"

    def write(node: NodePlan, its: Card) -> tuple[Artifact, ...]:
        items, out = manifest.nodes[node.name], options.out / node.name
        own = contents([item for item in items if not _furniture(item)], options.out)
        forms = card.write(plan, node, its, own, out=out, epoch=epoch)
        before = next(item for item in items if item.kind == bill.KIND)
        return *forms, bill.write_image(node, before, forms[0], given.system, root=options.out, epoch=epoch)

    nodes, task = [node for node in plan.nodes if node.name in given.cards], f"imaging {plan.name}"
    try:
        with tempfile.TemporaryDirectory(dir=bases, prefix=SCRATCH) as scratch:
            cards = _furnished(manifest, given, options, Path(scratch))
            empty = data(plan, Path(scratch) / "data.ext4", epoch=epoch)
            return abreast(
                nodes,
                lambda node: write(node, replace(cards[node.name], data=empty)),
                task=task,
                jobs=options.jobs,
                progress=progress,
            )
    except OSError as error:
        raise _unwritten(bases, error) from error


def _furnished(manifest: Manifest, given: Ground, options: Options, scratch: Path) -> dict[str, Card]:
    """Return the nodes' cards with what on their boot partition is not one node's own."""
    cards: dict[str, Card] = {}
    made: dict[object, Card] = {}
    for name, plain in given.cards.items():
        found = [item for item in manifest.nodes[name] if _furniture(item)]
        key = (plain.boot.image, *sorted((_place(item), item.sha256) for item in found))
        if found and key not in made:
            files, image = contents(found, options.out).boot, scratch / f"{len(made)}.fat"
            made[key] = card.furnished(plain, files, image=image, epoch=manifest.epoch)
        cards[name] = made.get(key, plain)
    return cards


def _furniture(item: Artifact) -> bool:
    """Say whether a node's artefact goes onto the boot partition, and is not its own."""
    return item.kind in _ON_BOOT and item.shared == ((0, item.size),)


def _place(item: Artifact) -> str:
    """Return where on the boot partition an artefact goes."""
    return "/".join(item.path.split("/")[_ON_BOOT[item.kind] :])


def contents(items: Iterable[Artifact], out: Path) -> card.Own:
    """Return what of a node's artefacts its card gets: by place on the boot partition, and for the root."""
    items = tuple(items)
    boot = {_place(item): out / item.path for item in items if item.kind in _ON_BOOT}
    root = next((out / item.path for item in items if item.kind == "rootfs"), None)
    on_disk = [item for item in items if item.kind in _ON_BOOT or item.kind == "rootfs"]
    shared = tuple((out / item.path, start, end) for item in on_disk for start, end in item.shared)
    return card.Own(boot=boot, root=root, shared=shared)


def _given(path: Path, want: Want) -> tuple[Path, UsedInput]:
    named = re.search(r"-(\d+(?:\.\d+)+\w*)-", path.name)
    version = named[1] if named else "unknown"
    return path, UsedInput(
        name=want.name, version=version, arch=want.arch, source=path.name, sha256=digest(path)
    )


def _not_had(why: InputError, plan: Plan, manifest: Manifest, options: Options) -> InputError:
    ways = (
        "\n  The release can come in three ways: --base FILE; --mirror DIRECTORY_OR_URL that has it; "
        f"or put into {options.cache / 'archives'}"
    )
    return InputError(
        f"no images were written: {why}",
        hint=f"all else was written for {len(manifest.nodes)} nodes, to {options.out}"
        + (ways if plan.profile.machine.os == "alpine" else ""),
    )
