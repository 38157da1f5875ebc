"""Wall and processor time of commands with all their children, and how many bytes a node costs."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake import command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHECKOUT = Path(__file__).parent.parent.parent
_HOURS = 4 * 3600.0
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What several runs of one thing took, in seconds; `cpu` is user and system time."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def median_wall(self) -> float:
        """Median wall time."""
        return statistics.median(self.wall)

    @property
    def median_cpu(self) -> float:
        """Median processor time."""
        return statistics.median(self.cpu)

    def to_json(self) -> dict[str, object]:
        """Return the samples and their medians."""
        return {**asdict(self), "median_wall": self.median_wall, "median_cpu": self.median_cpu}


def measure(runs: int, argv: Callable[[int], Sequence[str | Path]]) -> Times:
    """Run a command several times.

    Args:
        runs: how often.
        argv: gives the command of each run by its number.
    """
    samples = [_once(argv(number)) for number in range(runs)]
    return Times(wall=tuple(wall for wall, _ in samples), cpu=tuple(cpu for _, cpu in samples))


def _once(argv: Sequence[str | Path]) -> tuple[float, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command.run(argv, cwd=CHECKOUT, env={"NODEBAKE_VENV": sys.prefix}, timeout=_HOURS)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def own_bytes(node: Path, neighbour: Path) -> int:
    """Return how many bytes of a node's files are its own: all but what its neighbour's begin with, too.

    Shared binaries lie at the beginning of an artefact, byte for byte the same on every node.
    """
    total = 0
    for path in sorted(path for path in node.rglob("*") if path.is_file()):
        twin = neighbour / str(path.relative_to(node)).replace(node.name, neighbour.name)
        total += path.stat().st_size - (_common(path, twin) if twin.exists() else 0)
    return total


def _common(one: Path, other: Path) -> int:
    length = 0
    with one.open("rb") as left, other.open("rb") as right:
        while (first := left.read(_BLOCK)) and first == (second := right.read(_BLOCK)):
            length += len(first)
    pairs = zip(first, second, strict=False) if first else ()
    return length + next((index for index, (a, b) in enumerate(pairs) if a != b), 0)
