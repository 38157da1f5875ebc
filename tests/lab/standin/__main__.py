"""Make a stand-in release: `python -m tests.lab.standin --arch aarch64 --out FILE`."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import pytest

from nodebake.errors import NodebakeError
from tests.lab.standin.release import release

FLAVOURS = {"x86_64": "virt", "aarch64": "rpi"}


def main() -> int:
    """Write what is asked for, and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.standin", description=__doc__)
    parser.add_argument("--arch", choices=FLAVOURS, required=True)
    parser.add_argument("--flavour", choices=("virt", "rpi"), help="default: virt on x86_64, rpi on aarch64")
    parser.add_argument("--out", type=Path, required=True, help="the tarball to write")
    told = parser.parse_args()
    try:
        made = release(told.arch, told.flavour or FLAVOURS[told.arch])
    except (NodebakeError, pytest.skip.Exception) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    shutil.copyfile(made, told.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
