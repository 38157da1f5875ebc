"""Lay an archive over the ext4 file system inside an image, with debugfs(8): owners, modes, and no root."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nodebake.command import find, start
from nodebake.errors import BuildError
from nodebake.formats.card import ext4
from nodebake.formats.packing import zstd_reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from nodebake.formats.card.layout import Partition

_KINDS = {tarfile.REGTYPE: 0o100000, tarfile.DIRTYPE: 0o040000}
_QUIET = ("debugfs", "Allocated inode: ")  # its version, each command, and what is no error


def lay(image: Path, partition: Partition, archive: Path, *, names: AbstractSet[str], epoch: int) -> None:
    """Put what is in `archive` where `partition` lies in `image`, as `tar --zstd -xpf` would.

    Args:
        image: the image.
        partition: the file system's place in it.
        archive: ours: regular files, directories and symbolic links, parents first.
        names: what is there already, by path.
        epoch: seconds since 1970, of what is new.

    Raises:
        InputError: e2fsprogs is not installed.
        BuildError: something could not be put there.
        OSError: as reading does.
    """
    # Not in /tmp: there are keys among the files.
    with tempfile.TemporaryDirectory(dir=image.parent) as scratch, archive.open("rb") as packed:
        script = Path(scratch) / "script"
        with tarfile.open(fileobj=zstd_reader(packed), mode="r|") as tar:
            lines = [line for info in tar for line in _lines(tar, info, names, Path(scratch))]
        script.write_text("".join(f"{line}\n" for line in lines))
        debugfs = find("debugfs", package="e2fsprogs")
        argv: list[str | Path] = [debugfs, "-w", "-f", script, f"{image}?offset={partition.start}"]
        with start(argv, env=ext4.environment(epoch)) as process:
            said = process.communicate()[0].decode(errors="replace")
    # It goes on after an error, and ends well.
    wrong = [line for line in said.splitlines() if line and not line.startswith(_QUIET)]
    if wrong:
        raise BuildError("\n  ".join((f"{archive.name} could not be laid over the root:", *wrong[:20])))


def _lines(
    tar: tarfile.TarFile, info: tarfile.TarInfo, names: AbstractSet[str], scratch: Path
) -> Iterator[str]:
    """Yield debugfs' commands for one entry."""
    path = f'"/{PurePosixPath(info.name)}"'
    if set(path[1:-1]) & set('"\n'):
        raise BuildError(f"debugfs cannot write a name such as {info.name!r}")
    there = str(PurePosixPath(info.name)) in names
    if info.isdir():
        if not there:
            yield f"mkdir {path}"
    elif there:
        yield f"rm {path}"
    if info.issym():
        yield f'symlink {path} "{info.linkname}"'
        return
    content = tar.extractfile(info) if info.isreg() else None
    if content:
        source = scratch / str(info.offset)
        with source.open("wb") as to:
            shutil.copyfileobj(content, to)
        yield f"write {source} {path}"
    yield f"sif {path} mode 0{_KINDS[info.type] | info.mode:o}"
    yield f"sif {path} uid {info.uid}"
    yield f"sif {path} gid {info.gid}"
