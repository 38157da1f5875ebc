"""What a test needs from the machine: a missing tool skips on a laptop and fails in CI."""

from __future__ import annotations

import os
import platform
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodebake.command import find
from nodebake.errors import InputError, NodebakeError
from nodebake.progress import Silent
from nodebake.sources import Sources, Want, golang

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("NODEBAKE_CACHE") or ROOT / "cache")


def need(tool: str, *, package: str) -> str:
    """Return the path of a native tool; skip the test without it, or fail it in CI."""
    found = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        missing(f"{tool} is not installed (apt-get install {package})")
    return str(found)


def need_go() -> str:
    """Return the path of Go; skip the test without it, or fail it in CI."""
    try:
        return find("go", package="golang-go", also=golang.INSTALLED)
    except InputError as error:
        missing(str(error))
        raise


@cache
def need_etcd() -> Mapping[str, bytes]:
    """Return `etcd` and `etcdctl` for this machine; skip the test without them, or fail it in CI."""
    want = Want(name="etcd", version="3.5.16", arch=platform.machine(), files=("etcd", "etcdctl"))
    try:
        return Sources(lock=ROOT / "sources.lock", cache=CACHE, progress=Silent()).fetch(want).files
    except InputError as error:
        missing(str(error))
        raise


def need_input(want: Want, *, lock: Path = ROOT / "sources.lock") -> None:
    """Have a program in the cache: had as builds have it, or else built with Go, once; skip without both."""
    sources = Sources(lock=lock, cache=CACHE, progress=Silent())
    try:
        sources.fetch(want)
    except InputError:
        need_go()
        try:
            sources.build(want.name, version=want.version, arch=want.arch)
        except NodebakeError as error:
            missing(str(error))


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
