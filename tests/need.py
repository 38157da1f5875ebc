"""What a test needs from the machine: a missing tool skips on a laptop and fails in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def need(tool: str, *, package: str) -> str:
    """Return the path of a native tool; skip the test without it, or fail it in CI."""
    found = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        missing(f"{tool} is not installed (apt-get install {package})")
    return str(found)


def need_root() -> None:
    """Skip the test unless it runs as root, or fail it in CI."""
    if os.geteuid() != 0:
        missing("needs root, for network namespaces and chroot")


def shared(name: str) -> Path:
    """Return a file of the test data that lies beside the checkout, or skip the test.

    The data (Alpine's minirootfs) is not part of the repository; NODEBAKE_TEST_DATA names another place.
    """
    path = Path(os.environ.get("NODEBAKE_TEST_DATA", ROOT.parent / "shared" / "alpine")) / name
    if not path.exists():
        pytest.skip(f"test data {name} is not here; set NODEBAKE_TEST_DATA to the directory that has it")
    return path


def missing(reason: str) -> None:
    """Skip the test, or fail it in CI, where everything must be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
