"""The operator's files, `operator/`: what it takes to talk to the cluster from a desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.components.contract import DESK
from nodebake.formats.writing import artifact, private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.manifest import Artifact


def write(files: Mapping[str, bytes], *, out: Path, epoch: int) -> tuple[Artifact, ...]:
    """Write the operator's files, sorted by name.

    Args:
        files: content by name.
        out: the build's directory.
        epoch: the files' modification time, seconds since 1970.

    Raises:
        BuildError: writing failed.
    """
    directory = private(out / DESK)
    return tuple(
        artifact("operator", directory / name, content, root=out, epoch=epoch)
        for name, content in sorted(files.items())
    )
