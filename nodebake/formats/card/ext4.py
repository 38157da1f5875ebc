"""An ext4 file system of an image, made by e2fsprogs: the same size, label and time give the same bytes."""

from __future__ import annotations

import os
import re
import struct
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.formats.card.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Written out, so that no host's mke2fs.conf decides; known since Linux 4.4 and e2fsprogs 1.43.
_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,"
    "huge_file,dir_nlink,extra_isize,metadata_csum,metadata_csum_seed"
)
# 4 KiB blocks that tables keep room for: 256 GiB, so that it can grow to any card while it is mounted.
_GROWN = 1 << 26
_BLOCK = 4096
# Linux, Documentation/filesystems/ext4/super.rst: where it is, and places in it.
_SUPER, _BLOCKS, _ID, _SUM = 1024, 0x04, 0x68, 0x3FC
_GROUP = 8 * _BLOCK  # blocks in a group
# Of every file system until it has an id of its own, and the seed of its checksums.
_NOBODY = uuid.uuid5(uuid.NAMESPACE_URL, "urn:nodebake:root")
# dumpe2fs tells of each group of blocks: "  Free blocks: 1187-8175, 8177".
_FREE_BLOCKS = re.compile(r"^ +Free blocks: ([\d, -]+)$", re.MULTILINE)
_FREE_INODES = re.compile(r"^ +Free inodes: ([\d, -]+)$", re.MULTILINE)
_BLOCK_COUNT = re.compile(r"^Block count: +(\d+)$", re.MULTILINE)
_COUNT = re.compile(r"^Inode count: +(\d+)$", re.MULTILINE)
_ROOT, _FIRST = 2, 11  # inodes that are not ext4's own
# What it tells of a group with a copy of the superblock, and which is the last block that the copy takes.
_COPY = re.compile(
    r"(?P<number>\d+): \(Blocks \d+-(?P<last>\d+)\).*\n  Backup superblock at .*\n"
    r"  Reserved GDT blocks at \d+-(?P<kept>\d+)\n  Block bitmap at (?P<bitmap>\d+) "
    r"(?:.*\n)*?  (?P<free>\d+) free blocks"
)
_RUN = re.compile(r"(\d+)(?:-(\d+))?")


def make(image: Path, size: int, *, label: str, epoch: int) -> None:
    """Make an empty file system of `size` bytes in the new file `image`.

    It has never been mounted, which its superblock says (mount time 0): a node may make it anew, larger.
    Its id can be changed later, as its checksums do not hang on it.

    Raises:
        InputError: e2fsprogs is not installed.
        BuildError: it could not be made.
    """
    blocks = size // _BLOCK
    argv = _mke2fs((f"resize={max(_GROWN, blocks + 1)}",), label=label)
    run([*argv, image, str(blocks)], env=environment(epoch))
    _as_ever(image, epoch)


def of_directory(
    image: Path, root: Path, size: int, *, label: str, epoch: int, prefix: Sequence[str | Path] = ()
) -> None:
    """Make a file system of `size` bytes with what is in the directory `root`, in the file `image`.

    Its id can be changed later, too.

    Args:
        image: the file.
        root: the directory.
        size: bytes.
        label: of the file system.
        epoch: its time, seconds since 1970.
        prefix: a command that shows the owners to the one that follows it.

    Raises:
        InputError: e2fsprogs is not installed.
        BuildError: it could not be made.
    """
    argv = _mke2fs((), label=label)
    run([*prefix, *argv, "-d", root, image, str(size // _BLOCK)], env=environment(epoch))
    _settle(image, epoch)


def _as_ever(image: Path, epoch: int) -> None:
    """Undo what mke2fs 1.47.1 and later do besides: the same file system then, whichever release made it.

    They write the block bitmaps of groups that have nothing but a copy of the superblock, which the flag
    BLOCK_UNINIT had stood for, and count what they wrote. See docs/decisions/0022.
    """
    lines = ["ssv kbytes_written 0"]
    for group in _told(image).split("\nGroup ")[1:-1]:  # the last has no such flag
        found = _COPY.match(group)
        if found and int(found["free"]) == int(found["last"]) - int(found["kept"]):
            number = found["number"]
            lines += [f"set_bg {number} flags 7", f"set_bg {number} block_bitmap_csum 0"]
            lines += [f"set_bg {number} checksum calc", f"zap_block -p 0 {found['bitmap']}"]
    debugfs, script = find("debugfs", package="e2fsprogs"), "\n".join((*lines, "close -a"))
    run([debugfs, "-w", "-f", "-", image], stdin=script.encode(), env=environment(epoch))


def _settle(image: Path, epoch: int) -> None:
    """Replace the times that say when the files were unpacked here, and not when they were made."""
    told = _told(image)
    count = int(_COUNT.findall(told)[0])
    spans = _taken(_FREE_INODES, told, 1, count)
    taken = [number for start, end in spans for number in range(start, end) if number >= _FIRST]
    fields = [f"{time} @{epoch}" for time in ("atime", "ctime")] + ["atime_extra 0", "ctime_extra 0"]
    lines = [f"sif <{number}> {field}" for number in (_ROOT, *taken) for field in fields]
    debugfs = find("debugfs", package="e2fsprogs")
    run([debugfs, "-w", "-f", "-", image], stdin="\n".join(lines).encode(), env=environment(epoch))


def _mke2fs(extended: tuple[str, ...], *, label: str) -> list[str]:
    # All that means something is written, zeros too: what was on a card before must not show through.
    written = ("nodiscard", "lazy_itable_init=0", "lazy_journal_init=0", "root_owner=0:0")
    shape = ("-O", _FEATURES, "-b", str(_BLOCK), "-I", "256", "-i", "16384", "-m", "0")
    ids = ("-L", label, "-U", str(_NOBODY), "-E", ",".join((f"hash_seed={_NOBODY}", *extended, *written)))
    return [find("mke2fs", package="e2fsprogs"), "-q", "-F", "-t", "ext4", *shape, *ids]


def identify(descriptor: int, unique: uuid.UUID, *, at: int) -> None:
    """Give a file system of ours, which begins at `at`, an id of its own: in its superblock and all copies.

    As `tune2fs -U` does, which waits until the disk has the whole file.
    """
    (blocks,) = struct.unpack("<L", os.pread(descriptor, 4, at + _SUPER + _BLOCKS))
    groups = -(-blocks // _GROUP)
    for start in (_SUPER, *(number * _GROUP * _BLOCK for number in range(1, groups) if _has_copy(number))):
        block = bytearray(os.pread(descriptor, _SUPER, at + start))
        block[_ID : _ID + len(unique.bytes)] = unique.bytes
        struct.pack_into("<L", block, _SUM, _crc32c(bytes(block[:_SUM])))
        os.pwrite(descriptor, block, at + start)


def _has_copy(group: int) -> bool:
    """Say whether a group has a copy of the superblock: powers of 3, 5 and 7 do (sparse_super)."""
    return any(group == base**power for base in (3, 5, 7) for power in range(group.bit_length()))


def _crc32c(data: bytes) -> int:
    """Return the checksum of metadata: CRC-32C, reflected, as it stands without the last inversion."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (crc & 1) * 0x82F63B78
    return crc


def environment(epoch: int) -> dict[str, str]:
    """Return what makes e2fsprogs give the same bytes whenever and wherever."""
    # NOZEROOUT: otherwise zeros are holes.
    return {"E2FSPROGS_FAKE_TIME": str(epoch), "MKE2FS_CONFIG": "/dev/null", "UNIX_IO_NOZEROOUT": "1"}


def used(image: Path, *, at: int = 0) -> tuple[Range, ...]:
    """Return which blocks of a file system are in use.

    Args:
        image: the file that holds the file system.
        at: where in it the file system begins; places are counted from there.

    Raises:
        InputError: e2fsprogs is not installed.
        BuildError: it could not be read.
    """
    told = _told(image, at)
    taken = _taken(_FREE_BLOCKS, told, 0, int(_BLOCK_COUNT.findall(told)[0]) - 1)
    return tuple(Range(start=start * _BLOCK, end=end * _BLOCK) for start, end in taken)


def _told(image: Path, start: int = 0) -> str:
    dumpe2fs, e2image = (find(tool, package="e2fsprogs") for tool in ("dumpe2fs", "e2image"))
    if not start:
        return run([dumpe2fs, image]).decode()
    # Later ones than 1.47.0 take no `?offset=`: what they look at is copied, which is little.
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "metadata"
        run([e2image, "-r", "-o", str(start), image, copy])
        return run([dumpe2fs, copy]).decode()


def _taken(free: re.Pattern[str], told: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield where what is taken begins, and where what is free does, of what dumpe2fs told of each group."""
    for group in free.findall(told):
        for start, end in _RUN.findall(group):
            if int(start) > first:
                yield first, int(start)
            first = int(end or start) + 1
    if first <= last:
        yield first, last + 1
