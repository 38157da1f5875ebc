"""One build in a process of its own, told on standard input: `python -m nodebake.reproducing.again`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from nodebake import pipeline
from nodebake.errors import NodebakeError
from nodebake.progress import Silent


def main(told: dict[str, Any]) -> None:
    """Build what `told` says."""
    os.umask(told["umask"])
    options = pipeline.Options(
        out=Path(told["out"]),
        vault=Path(told["vault"]),
        lock=Path(told["lock"]),
        cache=Path(told["cache"]),
        mirror=told["mirror"],
        offline=told["offline"],
        epoch=told["epoch"],
        jobs=told["jobs"],
        base=Path(told["base"]) if told["base"] else None,
        zst=told["zst"],
    )
    make = pipeline.image if told["images"] else pipeline.build
    make(pipeline.resolve(told["profile"]), options=options, progress=Silent(), ask=None)


if __name__ == "__main__":
    try:
        main(json.load(sys.stdin))
    except NodebakeError as error:
        sys.exit(str(error))
