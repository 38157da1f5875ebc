"""What `./invoke bench` runs."""

from __future__ import annotations

from nodebake import console
from tests.bench import harness, images, report
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
        imaged = images.run(runs, progress=progress)
    harness.save(results, listing, imaged, CHECKOUT / "build/bench.json")
    console.say(f"{report.text(results, listing)}\n\n{images.text(imaged)}")
