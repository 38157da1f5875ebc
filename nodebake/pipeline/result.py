"""A build's directory as a whole: its manifest, and what of earlier builds goes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace as changed
from typing import TYPE_CHECKING

from nodebake.formats.writing import replace
from nodebake.manifest import Artifact, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from nodebake.manifest import UsedInput
    from nodebake.pipeline.options import Options
    from nodebake.plan import Plan
    from nodebake.sources import Fetched

MANIFEST, SUMS = "manifest.json", "SHA256SUMS"


def manifest(
    plan: Plan,
    options: Options,
    epoch: int,
    fetched: Mapping[str, Fetched],
    written: tuple[Mapping[str, tuple[Artifact, ...]], tuple[Artifact, ...]],
) -> Manifest:
    """Return the index of what was written.

    With `options.node`, other nodes keep what an earlier build of the same cluster, time and inputs wrote.

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
    same = (plan.profile.cluster.name, epoch, inputs)
    if options.node and before and (before.cluster, before.epoch, before.inputs) == same:
        nodes = {**before.nodes, **nodes}
    order = [node.name for node in plan.nodes if node.name in nodes]
    return Manifest(
        profile=plan.name,
        cluster=plan.profile.cluster.name,
        epoch=epoch,
        inputs=inputs,
        nodes={name: nodes[name] for name in order},
        operator=operator,
    )


def more(before: Manifest, used: UsedInput, written: Mapping[str, tuple[Artifact, ...]]) -> Manifest:
    """Return the index of a build with further artefacts by node, and what they were made of."""
    nodes = {name: (*items, *written.get(name, ())) for name, items in before.nodes.items()}
    return changed(before, inputs=(*before.inputs, used), nodes=nodes)


def finish(out: Path, manifest: Manifest) -> None:
    """Remove what an earlier build wrote and this one did not, then write manifest and sums.

    Raises:
        BuildError: one of them could not be written.
    """
    before = _before(out)
    if before:
        _remove(out, {item.path for item in before.artifacts} - {item.path for item in manifest.artifacts})
    for name, text in ((MANIFEST, manifest.to_json()), (SUMS, manifest.sums())):
        replace(out / name, (text.encode(),), epoch=manifest.epoch)


def _before(out: Path) -> Manifest | None:
    try:
        return Manifest.from_json((out / MANIFEST).read_text())
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remove(out: Path, paths: Iterable[str]) -> None:
    """Remove files that the old manifest names; it is a file anybody can edit, so none outside `out`."""
    for path in sorted(paths, reverse=True):
        target = (out / path).resolve()
        if out.resolve() in target.parents:
            target.unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                target.parent.rmdir()
