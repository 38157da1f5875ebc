"""What `./invoke bench` runs."""

from __future__ import annotations

from nodebake import console
from tests.bench import harness, report
from tests.bench.measuring import CHECKOUT


def main(*, runs: int = 3, full: bool = False) -> None:
    """Measure, print the report and write build/bench.json.

    Args:
        runs: repetitions.
        full: make all 300 nodes by hand; takes most of an hour.
    """
    scale = harness.Scale(runs=runs, by_hand=300) if full else harness.Scale(runs=runs)
    with console.session() as progress:
        results, listing = harness.run(scale, progress=progress)
    harness.save(results, listing, CHECKOUT / "build/bench.json")
    console.say(report.text(results, listing))
