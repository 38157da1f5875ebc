"""What a build is told besides its plan, and the files it goes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where a build reads and writes, and how much of it there is.

    Attributes:
        out: the build's directory.
        vault: the cluster's vault.
        lock: `sources.lock`.
        cache: verified downloads.
        mirror: a directory or URL that has the inputs, asked first.
        offline: whether the network is never asked.
        node: the only node to build for; empty for all.
        snapshot: the snapshot that the cluster was restored from; None for artefacts that need none.
        epoch: SOURCE_DATE_EPOCH, seconds since 1970; by default the time of the vault's newest secret.
        jobs: how many nodes are worked on at once.
        base: the operating system's release for images; by default the pinned one.
        zst: whether images are also written compressed.
        stamp: file to leave the build's stamp in; none without it.
        environ: where the profile may say a pass phrase is.
    """

    out: Path
    vault: Path
    lock: Path
    cache: Path
    mirror: str | None = None
    offline: bool = False
    node: str = ""
    snapshot: Path | None = None
    epoch: int | None = None
    jobs: int = 2
    base: Path | None = None
    zst: bool = False
    stamp: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


def inputs(plan: Plan, options: Options) -> tuple[Path, ...]:
    """Return the files and directories a build goes from, besides our own code and downloads.

    A pass phrase is not among them: what it opens is.
    """
    authority = plan.profile.pki.authority
    named = (
        authority.certificate,
        authority.key,
        authority.chain,
        *(one.path for one in plan.profile.overlays),
    )
    own = (plan.directory / name for name in named if name)
    given = (path for path in (options.base, options.snapshot) if path)
    return (options.vault, *plan.files, *own, *given)
