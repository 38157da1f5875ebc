"""Putting a node's files onto a mounted card with Alpine's release, in place of another overlay."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from nodebake.errors import BuildError, SafetyError

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.flash.options import Options
    from nodebake.manifest import Artifact
    from nodebake.plan import NodePlan, Plan

# What Alpine's initramfs takes for an overlay: the first that it finds, whatever follows the name, and what
# macOS leaves beside a file.
_OVERLAYS = ("*.apkovl.tar.gz*", "._*.apkovl.tar.gz*")
_SUFFIX = ".apkovl.tar.gz"
_PART = ".nodebake-part"
_KINDS = {"apkovl": 1, "boot": 2}  # directories above the file in the build that are not on the card


def copy_files(plan: Plan, node: NodePlan, card: Path, options: Options) -> None:
    """Put the node's overlay and board files onto the mounted `card`, and no other overlay stays there.

    Raises:
        UsageError: they were not built.
        SafetyError: it is no mounted card with Alpine, another node's, or nobody agreed.
        BuildError: the card cannot be written to.
    """
    _check(card)
    artifacts = [one for one in options.artifacts(node) if one.kind in _KINDS]
    files = {_target(one): options.verified(one) for one in artifacts}
    others = sorted({path.name for pattern in _OVERLAYS for path in card.glob(pattern)} - set(files))
    whose = [one.name for one in plan.nodes if one != node and f"{one.name}{_SUFFIX}" in others]
    if whose and not options.allowed.replace:
        raise SafetyError(
            f"{card}: this is the card of {' and '.join(whose)}, not of {node.name}",
            hint="put in another one, or add --replace",
        )
    if others:
        text = f"{card}: only one overlay may be on a card; these are removed: {', '.join(others)}"
        options.confirmed(text, word=node.name)
    try:
        _copy(card, files, others)
    except OSError as error:
        hint = "make room on it, or take another card, and copy again"
        raise BuildError(f"{card}: cannot be written to: {error.strerror}", hint=hint) from error
    options.progress.note(
        f"{card} is {node.name}'s card: {len(files)} files are on it, and synced; umount it"
    )


def _check(card: Path) -> None:
    if not card.is_mount():
        what = "is not the mount point of a card" if card.exists() else "is not there"
        raise SafetyError(f"{card} {what}", hint="mount the card's FAT partition, and name where")
    if not any(card.glob("*/.boot_repository")):
        hint = "unpack alpine-rpi-*-aarch64.tar.gz onto it first, hidden files too"
        raise SafetyError(f"{card} has no Alpine release on it", hint=hint)


def _target(artifact: Artifact) -> str:
    return "/".join(artifact.path.split("/")[_KINDS[artifact.kind] :])


def _copy(card: Path, files: dict[str, Path], others: list[str]) -> None:
    """Copy under other names, and only then remove and rename: a card that is full keeps what it had."""
    parts = {card / target: _part(card / target) for target in files}
    try:
        for target, source in files.items():
            _write(parts[card / target], source)
        for name in others:
            (card / name).unlink()
        # The overlay last: with it, all of the rest is there.
        for path in sorted(parts, key=lambda path: path.name.endswith(_SUFFIX)):
            parts[path].replace(path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    os.sync()


def _part(target: Path) -> Path:
    """Return a name to write under, which no initramfs takes for an overlay."""
    return target.with_name(_PART + target.name.removesuffix(_SUFFIX))


def _write(part: Path, source: Path) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as read, part.open("wb") as written:
        shutil.copyfileobj(read, written, 1 << 20)
        written.flush()
        os.fsync(written.fileno())
