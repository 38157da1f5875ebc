"""The harness itself, on a tiny scale; no timing decides anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nodebake.progress import Silent
from tests.bench import harness, images, report
from tests.need import need

if TYPE_CHECKING:
    from pathlib import Path


def test_bench_measures_both_ways_and_says_what_it_did(tmp_path: Path) -> None:
    """A few nodes go through both ways; the report and the JSON have every number."""
    need("cfssl", package="golang-cfssl")
    need("cloud-localds", package="cloud-image-utils")
    need("envsubst", package="gettext-base")
    need("genimage", package="genimage")
    results, listing = harness.run(
        harness.Scale(large=5, by_hand=4, runs=1, kinds=("nocloud",), binaries=False), progress=Silent()
    )
    imaged = images.run(1, progress=Silent())
    harness.save(results, listing, imaged, tmp_path / "bench.json")
    saved = json.loads((tmp_path / "bench.json").read_text())
    told = report.text(results, listing)
    assert list(saved["kinds"]) == ["nocloud"]
    assert all(
        kind["node_bytes"] > 0 and kind["hand_large"]["cpu"][0] > 0 for kind in saved["kinds"].values()
    )
    assert all(kind["published"]["4"] > 10 * kind["node_published"] > 0 for kind in saved["kinds"].values())
    assert told.count("one more node, cpu") == len(results)
    assert saved["images"]["size"] > 100 << 20
    assert "genimage / ours" in images.text(imaged)
