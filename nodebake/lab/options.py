"""What a run of the lab is told besides its plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.pipeline import Options as BuildOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is told besides its plan.

    Attributes:
        out: the build's directory; the report goes to `lab/` in it.
        lock: `sources.lock`.
        cache: verified downloads, and the guest system.
        base: the operating system's release, where machines boot from one; by default the pinned one.
        mirror: a directory or URL that has the inputs, asked first.
        offline: whether the network is never asked.
        scenario: a name in `SCENARIOS`, or several with commas between them.
        patience: seconds without success after which silence is failure.
    """

    out: Path
    lock: Path
    cache: Path
    base: Path | None = None
    mirror: str | None = None
    offline: bool = False
    scenario: str = "cold"
    patience: float = 900

    @classmethod
    def of(cls, build: BuildOptions, *, scenario: str) -> Options:
        """Return the options of a run with what a build of the same profile is told."""
        return cls(
            out=build.out,
            lock=build.lock,
            cache=build.cache,
            base=build.base,
            mirror=build.mirror,
            offline=build.offline,
            scenario=scenario,
        )
