"""A build's directory as a whole: its manifest, and what of earlier builds goes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace as changed
from typing import TYPE_CHECKING

from nodebake.errors import NodebakeError
from nodebake.formats import renewal
from nodebake.formats.card import KINDS
from nodebake.formats.writing import replace
from nodebake.manifest import MANIFEST, SUMS, Artifact, Manifest, load
from nodebake.provenance import PROVENANCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from nodebake.manifest import UsedInput
    from nodebake.pipeline.options import Options
    from nodebake.plan import Plan
    from nodebake.sources import Fetched

    Artifacts = tuple[Artifact, ...]


def manifest(
    plan: Plan,
    options: Options,
    epoch: int,
    fetched: Mapping[str, Fetched],
    written: tuple[Mapping[str, Artifacts], Artifacts],
) -> Manifest:
    """Return the index of what was written.

    Of an earlier build of the same cluster, time and inputs stay images whose node's own files are the same,
    and, with `options.node`, the other nodes.

    Args:
        plan: the cluster.
        options: the build's.
        epoch: seconds since 1970.
        fetched: the inputs by name.
        written: artefacts by node, and the operator's.
    """
    nodes, operator = written
    inputs = tuple(used for one in fetched.values() for used in one.used)
    before = _before(options.out)
    if before and (before.cluster, before.epoch) == (plan.profile.cluster.name, epoch):
        nodes, inputs = _with_those_before(nodes, inputs, before, others=bool(options.node))
    order = [node.name for node in plan.nodes if node.name in nodes]
    return Manifest(
        profile=plan.name,
        cluster=plan.profile.cluster.name,
        epoch=epoch,
        inputs=inputs,
        nodes={name: nodes[name] for name in order},
        operator=operator,
    )


def with_images(before: Manifest, used: UsedInput, written: Mapping[str, Artifacts]) -> Manifest:
    """Return the index of a build after images were written, by node, from `used`.

    An image's other forms stay for as long as the image is the same.
    """
    nodes = dict(before.nodes)
    for name, items in written.items():
        gone = {item.kind for item in items} if set(items) & set(before.nodes[name]) else KINDS
        stay = [item for item in before.nodes[name] if item.kind not in gone]
        nodes[name] = tuple(sorted((*stay, *items), key=_last_images))
    others = any(item.kind in KINDS for name in before.nodes.keys() - written for item in before.nodes[name])
    inputs = [one for one in before.inputs if one.name != used.name or others]
    return changed(before, inputs=tuple(dict.fromkeys((*inputs, used))), nodes=nodes)


def _last_images(item: Artifact) -> int:
    return KINDS.index(item.kind) if item.kind in KINDS else -1


def _with_those_before(
    nodes: Mapping[str, Artifacts], inputs: tuple[UsedInput, ...], before: Manifest, *, others: bool
) -> tuple[Mapping[str, Artifacts], tuple[UsedInput, ...]]:
    """Return artefacts and inputs with those of an earlier build that are still good.

    These are images whose node's own files are what they were, and other nodes when only one was built.
    """
    if not set(inputs) <= set(before.inputs):
        return nodes, inputs
    kept = {
        name: (*items, *(item for item in before.nodes[name] if item.kind in KINDS))
        for name, items in nodes.items()
        if set(items) <= set(before.nodes.get(name, ()))
    }
    whole = {**(before.nodes if others else {}), **nodes, **kept}
    imaged = any(item.kind in KINDS for items in whole.values() for item in items)
    return whole, before.inputs if imaged else inputs


def finish(out: Path, manifest: Manifest) -> None:
    """Remove what an earlier build wrote and this one did not, then write manifest and sums.

    Raises:
        BuildError: one of them could not be written.
    """
    before = _before(out)
    if before and before != manifest:
        (out / PROVENANCE).unlink(missing_ok=True)  # what was signed is no more
    if before:
        _remove(out, {item.path for item in before.artifacts} - {item.path for item in manifest.artifacts})
    for name, text in ((MANIFEST, manifest.to_json()), (SUMS, manifest.sums())):
        replace(out / name, (text.encode(),), epoch=manifest.epoch)


def amend(out: Path, renewals: Mapping[str, Artifact], operator: tuple[Artifact, ...]) -> None:
    """Have the index of the build that lies in `out`, if one does, tell what was written since.

    Raises:
        BuildError: it could not be written.
    """
    before = _before(out)
    if before is None:
        return
    nodes = dict(before.nodes)
    for name in sorted(renewals):
        items = (item for item in nodes.get(name, ()) if item.kind != renewal.KIND)
        nodes[name] = (*items, renewals[name])
    finish(out, changed(before, nodes=nodes, operator=operator))


def _before(out: Path) -> Manifest | None:
    try:
        return load(out)
    except NodebakeError:
        return None


def _remove(out: Path, paths: Iterable[str]) -> None:
    """Remove files that the old manifest names; it is a file anybody can edit, so none outside `out`."""
    for path in sorted(paths, reverse=True):
        target = (out / path).resolve()
        if out.resolve() in target.parents:
            target.unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                for parent in target.parents:
                    parent.rmdir()
