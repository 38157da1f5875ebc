"""A disk: its boot partition read with mtools, its root with debugfs; nothing is mounted."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError, UsageError
from nodebake.formats.apkovl import MEDIUM
from nodebake.formats.card.layout import FAT32_LBA, LINUX, SECTOR
from nodebake.inspection.files import File, in_gzip, read
from nodebake.inspection.finding import Finding, found

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLE, _ENTRY, _SIGNATURE = 446, struct.Struct("<4xB3xII"), b"\x55\xaa"
_SLOTS = 4
_PROGRAM = 0o755  # of what links on the node lead to; a FAT has no modes
_FATS = (0x06, 0x0B, FAT32_LBA, 0x0E)
# Of a root, what was laid over it and tells about it: all of it would be a gigabyte.
_TOLD = ("/etc", "/usr/local")
# The authorities that a system trusts, in their hundreds.
_NOT_OURS = "etc/ssl/certs/"


def has_table(head: bytes) -> bool:
    """Tell whether a disk that begins so has a partition table."""
    return head[SECTOR - 2 : SECTOR] == _SIGNATURE


def inspect(image: Path, kind: str, what: str) -> Finding:
    """Return what is on a disk.

    Args:
        image: a file or device.
        kind: as in a manifest.
        what: the same for people.

    Raises:
        UsageError: there is nothing of ours on it.
        InputError: mtools or e2fsprogs is not installed.
        BuildError: it cannot be read.
    """
    files: list[File] = []
    systems: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, (type_, start) in enumerate(_partitions(image)):
            inside = Path(scratch) / str(number)
            inside.mkdir()
            if type_ in _FATS:
                systems += _copied(image, start, inside)
                overlay = list(_overlays(inside))
                files += [*overlay, *_programs(inside / MEDIUM)] if overlay else []
            elif type_ == LINUX:
                files += _root(image, start, inside)
    root = {one.path: one for one in files}
    if "etc/debian_version" in root:
        systems.append(f"Debian {root['etc/debian_version'].content.decode().strip()}")
    if not root:
        raise UsageError(
            f"{image} has no node's files on it", hint="it may be an empty card, or another system's"
        )
    return found(kind, what, files, system=", ".join(systems))


def _partitions(image: Path) -> Iterator[tuple[int, int]]:
    """Yield type and place in bytes of every partition."""
    with image.open("rb") as disk:
        sector = disk.read(SECTOR)
    for slot in range(_SLOTS):
        kind, start, count = _ENTRY.unpack_from(sector, _TABLE + slot * _ENTRY.size)
        if count:
            yield kind, start * SECTOR


def _copied(image: Path, start: int, to: Path) -> Iterator[str]:
    """Copy what tells of a node from a boot partition; yield what it says of the system on it."""
    mcopy = find("mcopy", package="mtools")
    for name in ("*.apkovl.tar.gz", ".alpine-release", MEDIUM):
        # 1: there is none.
        run(
            [mcopy, "-s", "-n", "-i", f"{image}@@{start}", f"::/{name}", to],
            accept=(0, 1),
            env={"MTOOLS_SKIP_CHECK": "1"},
        )
    release = to / ".alpine-release"
    if release.exists():
        yield f"Alpine {release.read_text(encoding='utf-8').strip()}"


def _overlays(boot: Path) -> Iterator[File]:
    for path in sorted(boot.glob("*.apkovl.tar.gz")):
        with path.open("rb") as packed:
            yield from in_gzip(packed, path.name)


def _programs(medium: Path) -> Iterator[File]:
    """Yield what the overlay's list names, as it is on the disk."""
    for path in sorted(medium.glob("*/**/*")):
        if path.is_file():
            with path.open("rb") as content:
                place = path.relative_to(medium).as_posix()
                yield read(place, content, mode=_PROGRAM, size=path.stat().st_size)


def _root(image: Path, start: int, to: Path) -> Iterator[File]:
    debugfs = find("debugfs", package="e2fsprogs")
    lines = "".join(f"rdump {path} {to}\n" for path in _TOLD)
    try:
        # Without root it cannot give files their owners, and says so; their contents are there.
        run([debugfs, "-f", "-", f"{image}?offset={start}"], stdin=lines.encode())
    except BuildError as error:
        raise BuildError(f"{image}: a partition cannot be read: {error}") from error
    for path in sorted(to.rglob("*")):
        name = path.relative_to(to).as_posix()
        if path.is_file() and not path.is_symlink() and not name.startswith(_NOT_OURS):
            status = path.stat()
            with path.open("rb") as content:
                yield read(name, content, mode=status.st_mode & 0o7777, size=status.st_size)
