"""Files of a build on disk: whole or not at all, private, hashed while they are written."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager, suppress
from dataclasses import replace as changed
from typing import TYPE_CHECKING

from nodebake.errors import BuildError
from nodebake.manifest import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nodebake.formats.packing import Prefix

PART = ".part-"
# Measured: pieces that stay in the processor's cache cost the kernel half of what one large write does.
_PIECE = 1 << 17
_HOLE = 1 << 12  # what a file system can leave out


def private(directory: Path) -> Path:
    """Make `directory` (0700), and drop what a killed build left in it.

    Raises:
        BuildError: it cannot be made.
    """
    try:
        if not _made(directory):
            for left in directory.glob(f"{PART}*"):
                left.unlink(missing_ok=True)
    except OSError as error:
        raise failed(directory, error) from error
    return directory


def _made(directory: Path) -> bool:
    """Make `directory` and say whether it was not there before."""
    try:
        directory.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if directory.is_dir():
            return False
        raise
    return True


def artifact(
    kind: str, path: Path, rest: bytes, *, root: Path, epoch: int, prefix: Prefix | None = None
) -> Artifact:
    """Write a file and say what it is.

    Args:
        kind: as in `Artifact`.
        path: where it goes; its directory exists.
        rest: its bytes, after `prefix`.
        root: the build's directory, which the artefact's path is relative to.
        epoch: its modification time, seconds since 1970.
        prefix: bytes in front, hashed already, which hold nothing of one node's own.

    Raises:
        BuildError: it could not be written; a file that was there before is unchanged.
    """
    chunks = prefix.chunks if prefix else ()
    replace(path, (*chunks, rest), epoch=epoch)
    sha256 = prefix.sha256.copy() if prefix else hashlib.sha256()
    sha256.update(rest)
    size = (prefix.size if prefix else 0) + len(rest)
    return Artifact(
        kind=kind,
        path=path.relative_to(root).as_posix(),
        size=size,
        sha256=sha256.hexdigest(),
        shared=prefix.ranges if prefix else (),
    )


def streamed(kind: str, path: Path, chunks: Iterable[bytes], *, root: Path, epoch: int) -> Artifact:
    """Write a file that is too large to be in memory; the arguments are those of `artifact`.

    Raises:
        BuildError: it could not be written; a file that was there before is unchanged.
    """
    sha256, size = hashlib.sha256(), 0

    def passed() -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            sha256.update(chunk)
            size += len(chunk)
            yield chunk

    replace(path, passed(), epoch=epoch)
    return Artifact(kind=kind, path=path.relative_to(root).as_posix(), size=size, sha256=sha256.hexdigest())


def placed(kind: str, new: Path, path: Path, *, root: Path, epoch: int, sha256: str) -> Artifact:
    """Give a file that was written whole its name, and say what it is.

    Args:
        kind: as in `Artifact`.
        new: the file, by the name that `part` gave.
        path: where it goes.
        root: the build's directory, which the artefact's path is relative to.
        epoch: its modification time, seconds since 1970.
        sha256: its digest, hexadecimal.

    Raises:
        OSError: as renaming does.
    """
    os.utime(new, (epoch, epoch))
    size = new.replace(path).stat().st_size
    return Artifact(kind=kind, path=path.relative_to(root).as_posix(), size=size, sha256=sha256)


def twin(of: Artifact, path: Path, chunks: Iterable[bytes], *, root: Path, epoch: int) -> Artifact:
    """Put an artefact of this build at a second place: the same file, or a copy where links do not work.

    Args:
        of: what was written already.
        path: the second place; its directory exists.
        chunks: the bytes, for a copy.
        root: the build's directory.
        epoch: a copy's modification time, seconds since 1970.

    Raises:
        BuildError: it could not be written; a file that was there before is unchanged.
    """
    first = root / of.path
    if path != first and not _linked(first, path):
        replace(path, chunks, epoch=epoch)
    return changed(of, path=path.relative_to(root).as_posix())


def replace(path: Path, chunks: Iterable[bytes], *, epoch: int) -> None:
    """Put a file of `chunks` (0600) in the place of `path`: at every moment the old one or the new is there.

    A chunk of zeros takes no room where the file system knows holes.

    Raises:
        BuildError: it could not be written.
    """
    try:
        with part(path) as new:
            new.touch(0o600, exist_ok=False)
            with new.open("wb", buffering=0) as file:
                for chunk in chunks:
                    _write(file.fileno(), chunk)
                os.utime(file.fileno(), (epoch, epoch))
            new.replace(path)
    except OSError as error:
        raise failed(path, error) from error


@contextmanager
def part(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write under; what has it after an error goes."""
    # The process id keeps builds apart; one build writes one file at a time into a directory. The name
    # must not match *.apkovl.tar.gz*, should a killed build leave it behind.
    new = path.with_name(f"{PART}{os.getpid()}")
    try:
        yield new
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _linked(first: Path, path: Path) -> bool:
    """Make `path` another name of `first` and say whether that worked."""
    with suppress(OSError), part(path) as new:
        new.hardlink_to(first)
        new.replace(path)
        new.unlink(missing_ok=True)  # rename does nothing if both are one file already
        return True
    return False


def _write(descriptor: int, chunk: bytes) -> None:
    if len(chunk) % _HOLE == 0 and chunk[:_HOLE] == bytes(_HOLE) and chunk == bytes(len(chunk)):
        os.truncate(descriptor, os.lseek(descriptor, len(chunk), os.SEEK_CUR))
        return
    left = memoryview(chunk)
    while left:
        left = left[os.write(descriptor, left[:_PIECE]) :]


def failed(path: Path, error: OSError) -> BuildError:
    """Return the error for a file that could not be written."""
    return BuildError(
        f"cannot write {path}: {error.strerror}", hint="files written before are whole; run it again to go on"
    )
