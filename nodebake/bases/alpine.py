"""Alpine's releases: what their boot medium holds, hidden files and all, on a FAT partition.

`alpine-rpi-*-aarch64.tar.gz` holds the partition's files for every 64-bit Pi (aports, scripts/mkimg.arm.sh).
Its `.img.gz` is no base: a FAT with a few megabytes to spare, and no other partition. Of `alpine-virt-*.iso`
the files are taken, and its boot loader is not: syslinux takes the place of isolinux, as with Alpine's own
setup-bootable.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.errors import InputError
from nodebake.formats.card import BOOT, Card, Made, bios, boot_size, fat
from nodebake.formats.card.layout import MIB, up
from nodebake.sources import archive
from nodebake.sources.cache import SCRATCH, Cache, intact, remember, sound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nodebake.plan import Plan
    from nodebake.progress import Progress

# Counts up when the same release would become other bytes here.
_MADE = 1
_STEP = 16 * MIB
_COMMON = (".alpine-release", "apks/.boot_repository")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """A kind of release.

    Attributes:
        name: as `sources.lock` has it, and as its file's name begins.
        file: the file to give, for messages.
        needed: without them there is nothing to start, or nothing to install from.
        bios: whether a BIOS starts it, which needs a boot loader.
    """

    name: str
    file: str
    needed: tuple[str, ...]
    bios: bool = False


RPI = Flavour(
    name="alpine-rpi",
    file="alpine-rpi-*-aarch64.tar.gz, not the .img.gz",
    needed=(*_COMMON, "config.txt", "cmdline.txt", "boot/vmlinuz-rpi", "boot/initramfs-rpi"),
)
VIRT = Flavour(
    name="alpine-virt",
    file="alpine-virt-*-x86_64.iso",
    needed=(*_COMMON, "boot/vmlinuz-virt", "boot/initramfs-virt"),
    bios=True,
)


def flavour(plan: Plan) -> Flavour | None:
    """Return which release the nodes of `plan` start from, if there is one."""
    if plan.profile.machine.os != "alpine":
        return None
    if plan.board.firmware == "raspberrypi":
        return RPI
    return VIRT if plan.arch == "x86_64" else None


def steps(sizes: Iterable[int]) -> int:
    """Return how many 16 MiB a node's own files are reckoned as, so that most nodes share one base."""
    return -(-sum(sizes) // _STEP)


def card(kind: Flavour, release: Path, sha256: str, *, own: int, cache: Path, progress: Progress) -> Card:
    """Return the boot partition with `release` on it, from the cache if it was made before.

    Args:
        kind: of the release.
        release: its file, verified.
        sha256: its digest.
        own: what `steps` says of a node's own files.
        cache: a directory for what was made.
        progress: is told when it takes time.

    Raises:
        InputError: it is no such release, or does not unpack; or a tool is not installed.
        BuildError: it could not be put onto a partition.
        OSError: as writing does.
    """
    made = cache / f"{kind.name}-{sha256[:32]}-{_MADE}-{own * _STEP // MIB}.fat"
    if not intact(made):
        cache.mkdir(parents=True, exist_ok=True)
        with Cache(cache.parent).locked(made.name):
            if not sound(made, progress):  # another build was not faster
                task = f"putting {release.name} onto a partition"
                progress.start(task)
                with tempfile.TemporaryDirectory(dir=cache, prefix=SCRATCH) as scratch:
                    _make(kind, release, Path(scratch), own * _STEP).replace(made)
                remember(made)
                progress.finish(task)
    return Card(boot=Made(image=made, ranges=fat.used(made)), code=bios.code() if kind.bios else b"")


def _make(kind: Flavour, release: Path, scratch: Path, own: int) -> Path:
    root, image = scratch / "root", scratch / "boot.fat"
    root.mkdir()
    _unpack(release, root)
    absent = [name for name in kind.needed if not (root / name).exists()]
    if absent:
        raise InputError(
            f"{release.name} is not the release of Alpine that is needed: it has no {', '.join(absent)}",
            hint=f"the file to give is {kind.file}, from alpinelinux.org",
        )
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    for path in files.values():
        os.utime(path, (max(path.stat().st_mtime, fat.OLDEST),) * 2)
    epoch = int(max(path.stat().st_mtime for path in files.values()))
    # A file's last cluster counts whole.
    content = sum(up(path.stat().st_size, fat.LARGEST_CLUSTER) for path in files.values())
    fat.make(image, boot_size(content, own), label=BOOT)
    fat.fill(image, files, epoch=epoch)
    if kind.bios:
        bios.install(image, epoch=epoch)
    return image


def _unpack(release: Path, root: Path) -> None:
    with release.open("rb") as packed:
        if release.suffix == ".iso":
            from nodebake.formats.nocloud import iso  # noqa: PLC0415 - slow to import, and few images need it

            iso.unpack(packed, root, name=release.name)
        else:
            archive.unpack(packed, root, name=release.name)
