"""Alpine's release for the Raspberry Pi: what its FAT partition holds, hidden files and all.

Upstream's `alpine-rpi-*-aarch64.tar.gz` holds the partition's files, for every 64-bit Pi (aports,
scripts/mkimg.arm.sh). Its `.img.gz` is no base: a FAT with a few megabytes to spare, and no other partition.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.errors import InputError
from nodebake.formats.card import BOOT, Card, boot_size, fat
from nodebake.formats.card.layout import MIB, up
from nodebake.sources import archive

if TYPE_CHECKING:
    from nodebake.progress import Progress

# Counts up when the same release would become other bytes here.
_MADE = 1
# Without them there is nothing to start, or nothing to install from.
_NEEDED = (".alpine-release", "config.txt", "cmdline.txt", "boot", "apks/.boot_repository")
_STEP = 16 * MIB


def card(release: Path, sha256: str, *, room: int, cache: Path, progress: Progress) -> Card:
    """Return the boot partition with `release` on it, from the cache if it was made before.

    Args:
        release: the release's archive, verified.
        sha256: its digest.
        room: bytes that a node's own files take.
        cache: a directory for what was made.
        progress: is told when it takes time.

    Raises:
        InputError: it is no such release, or does not unpack.
        BuildError: it could not be put onto a partition.
        OSError: as writing does.
    """
    room = up(room, _STEP)
    made = cache / f"alpine-{sha256[:32]}-{_MADE}-{room // MIB}.fat"
    if not made.exists():
        cache.mkdir(parents=True, exist_ok=True)
        task = f"putting {release.name} onto a partition"
        progress.start(task)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _make(release, Path(scratch), room).replace(made)
        progress.finish(task)
    return Card(boot=made, ranges=fat.used(made))


def _make(release: Path, scratch: Path, room: int) -> Path:
    root, image = scratch / "root", scratch / "boot.fat"
    root.mkdir()
    with release.open("rb") as packed:
        archive.unpack(packed, root, name=release.name)
    absent = [name for name in _NEEDED if not (root / name).exists()]
    if absent:
        raise InputError(
            f"{release.name} is not Alpine's release for the Raspberry Pi: it has no {', '.join(absent)}",
            hint="the file to give is alpine-rpi-*-aarch64.tar.gz, not the .img.gz, from alpinelinux.org",
        )
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    for path in files.values():
        seen = path.stat().st_mtime
        os.utime(path, (max(seen, fat.OLDEST),) * 2)
    content = sum(up(path.stat().st_size, fat.CLUSTER) for path in files.values())
    fat.make(image, boot_size(content + room), label=BOOT)
    fat.fill(image, files, epoch=int(max(path.stat().st_mtime for path in files.values())))
    return image
