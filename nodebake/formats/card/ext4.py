"""An ext4 file system inside an image, made by e2fsprogs: the same ids and time give the same bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.formats.card.ranges import Range, joined

if TYPE_CHECKING:
    import uuid
    from pathlib import Path

    from nodebake.formats.card.layout import Partition

# Written out, so that no host's mke2fs.conf decides; known since Linux 4.4 and e2fsprogs 1.43.
_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,"
    "huge_file,dir_nlink,extra_isize,metadata_csum"
)
# 4 KiB blocks that tables keep room for: 256 GiB, so that it can grow to any card while it is mounted.
_GROWN = 1 << 26
_BLOCK = 4096
# dumpe2fs tells of each group of blocks: "  Free blocks: 1187-8175, 8177".
_FREE = re.compile(r"^ +Free blocks: ([\d, -]+)$", re.MULTILINE)
_RUN = re.compile(r"(\d+)(?:-(\d+))?")


def make(image: Path, partition: Partition, *, label: str, unique: uuid.UUID, epoch: int) -> None:
    """Make an empty file system where `partition` lies in `image`.

    It has never been mounted, which its superblock says (mount time 0): a node may make it anew, larger.

    Raises:
        InputError: e2fsprogs is not installed.
        BuildError: it could not be made.
    """
    blocks = partition.size // _BLOCK
    extended = (
        f"offset={partition.start}",
        f"hash_seed={unique}",
        f"resize={max(_GROWN, blocks + 1)}",
        # All that means something is written, zeros too: what was on a card before must not show through.
        "nodiscard",
        "lazy_itable_init=0",
        "lazy_journal_init=0",
        "root_owner=0:0",
    )
    argv = [
        "-q",
        "-F",
        "-t",
        "ext4",
        "-O",
        _FEATURES,
        "-b",
        str(_BLOCK),
        "-I",
        "256",
        "-i",
        "16384",
        "-m",
        "0",
    ]
    ids = ["-L", label, "-U", str(unique), "-E", ",".join(extended)]
    env = {
        "E2FSPROGS_FAKE_TIME": str(epoch),
        "MKE2FS_CONFIG": "/dev/null",
        # Otherwise zeros are holes.
        "UNIX_IO_NOZEROOUT": "1",
    }
    run([find("mke2fs", package="e2fsprogs"), *argv, *ids, image, str(blocks)], env=env)


def used(image: Path, partition: Partition) -> tuple[Range, ...]:
    """Return which blocks of the file system in `partition` are in use, counted from its beginning.

    Raises:
        InputError: e2fsprogs is not installed.
        BuildError: it could not be read.
    """
    dumpe2fs = find("dumpe2fs", package="e2fsprogs")
    told = run([dumpe2fs, f"{image}?offset={partition.start}"]).decode()
    taken, ranges = 0, []
    for group in _FREE.findall(told):
        for first, last in _RUN.findall(group):
            ranges.append(Range(start=taken * _BLOCK, end=int(first) * _BLOCK))
            taken = int(last or first) + 1
    return joined((*ranges, Range(start=taken * _BLOCK, end=partition.size)))
