"""A publication, or a node of it, brought back to a directory."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.errors import InputError, SafetyError, UsageError
from nodebake.formats.writing import private
from nodebake.manifest import MANIFEST
from nodebake.publish.joining import Kitchen, checked
from nodebake.publish.looking import look
from nodebake.publish.place import PlaceError
from nodebake.vault import check_identity

if TYPE_CHECKING:
    from nodebake.manifest import Manifest
    from nodebake.progress import Progress
    from nodebake.publish.place import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """What is pulled, and where to.

    Attributes:
        out: a directory; empty, new, or with other nodes of the same build; None for one that is named as
            the profile is.
        builds: the directory that such a one is in.
        node: the only node that is wanted; empty for all.
        identity: the file with age's private keys, if there is one.
    """

    out: Path | None
    builds: Path
    node: str = ""
    identity: Path | None = None


def pull(place: Source, wanted: Pull, progress: Progress) -> tuple[Path, Manifest]:
    """Write what is published, its manifest last; return where it is, and the manifest.

    Raises:
        UsageError: nothing is published there, the node is not in it, or the identity is missing or wrong.
        SafetyError: the directory has another build.
        InputError: the place failed, or something there is not what it must be.
        BuildError: a file could not be written.
    """
    if wanted.identity:
        check_identity(wanted.identity)
    try:
        return _pull(place, wanted, progress)
    except PlaceError as error:
        raise InputError(str(error)) from error


def _pull(place: Source, wanted: Pull, progress: Progress) -> tuple[Path, Manifest]:
    published = look(place)
    manifest = published.manifest
    names = [name for name in manifest.nodes if wanted.node in {"", name}]
    if not names:
        hint = f"its nodes are {', '.join(manifest.nodes)}"
        raise UsageError(f"{place.name} has no node {wanted.node}", hint=hint)
    out = wanted.out or wanted.builds / manifest.profile
    _refuse_another(out, published.text)
    task = f"pulling from {place.name}"
    progress.start(task, len(names))
    with tempfile.TemporaryDirectory(dir=private(out), prefix=".pulled-") as scratch:
        kitchen = Kitchen(
            place=place, out=out, scratch=Path(scratch), epoch=manifest.epoch, identity=wanted.identity
        )
        for name in names:
            kitchen.node(published.nodes[name], manifest.nodes[name])
            progress.advance(task)
    for path, blob in published.beside.items():
        kitchen.write(path, checked(place, blob))
    kitchen.write(MANIFEST, [published.text])
    progress.finish(task)
    return out, manifest


def _refuse_another(out: Path, text: bytes) -> None:
    """Leave a directory alone that has another build: its keys may be nowhere else."""
    path = out / MANIFEST
    if path.exists() and path.read_bytes() != text:
        raise SafetyError(f"{out} has another build", hint="name another directory with --out")
