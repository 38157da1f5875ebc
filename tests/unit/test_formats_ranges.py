"""What is copied from a base into an image, and how."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.formats.card import ranges
from nodebake.formats.card.ranges import Range
from tests.need import missing, need, need_root

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
# As a FAT has them: clusters need not begin where the file system's blocks do.
RANGES = (Range(start=0, end=5000), Range(start=MIB + 2048, end=3 * MIB + 2048))


@pytest.fixture(params=[("xfs", "xfsprogs"), ("btrfs", "btrfs-progs")], ids=["xfs", "btrfs"])
def sharing(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return a directory on a file system where files can share blocks."""
    need_root()
    kind, package = request.param
    disk, place = tmp_path / "disk", tmp_path / "place"
    with disk.open("wb") as file:
        file.truncate(320 * MIB)
    run([need(f"mkfs.{kind}", package=package), "-q", disk])
    place.mkdir()
    run([need("modprobe", package="kmod"), "--quiet", kind], accept=(0, 1))
    if f"\t{kind}\n" not in Path("/proc/filesystems").read_text():
        missing(f"this kernel has no {kind}")
    run([need("mount", package="mount"), "-t", kind, "-o", "loop", disk, place])
    try:
        yield place
    finally:
        run([need("umount", package="mount"), place])


def _copied(directory: Path) -> tuple[bytes, Path]:
    """Copy the ranges of a file to another in the same directory, and return its bytes and the other."""
    content = hashlib.shake_128(b"base").digest(4 * MIB)
    base, new = directory / "base", directory / "new"
    base.write_bytes(content)
    with base.open("rb") as source, new.open("wb+") as target:
        target.truncate(8 * MIB)
        ranges.copy(source.fileno(), target.fileno(), RANGES, at=4 * MIB)
    return content, new


def test_only_ranges_are_copied(tmp_path: Path) -> None:
    """In whole blocks; what lies between them is a hole."""
    content, new = _copied(tmp_path)
    wanted = bytearray(8 * MIB)
    for start, end in ((0, 8192), (MIB, 3 * MIB + 4096)):
        wanted[4 * MIB + start : 4 * MIB + end] = content[start:end]
    assert new.read_bytes() == bytes(wanted)
    assert new.stat().st_blocks * 512 <= 2 * MIB + 64 * 1024


def test_a_copy_shares_its_blocks_where_that_works(sharing: Path) -> None:
    """Every piece of it is the base's own, wherever a range begins and ends."""
    _, new = _copied(sharing)
    run([need("sync", package="coreutils")])
    told = run([need("filefrag", package="e2fsprogs"), "-v", new]).decode()
    pieces = [line for line in told.splitlines() if line.lstrip()[:1].isdigit()]
    assert len(pieces) == len(RANGES)
    assert all("shared" in piece for piece in pieces)
