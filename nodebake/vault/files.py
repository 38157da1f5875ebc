"""The vault's directory: private from birth, one build at a time, every file whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nodebake.errors import BuildError, NodebakeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NEW = ".new"  # ending of a file that is being written


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files of a locked vault."""

    directory: Path

    def has(self, name: str) -> bool:
        """Say whether there is a file of this name."""
        return os.path.lexists(self.directory / name)

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            UsageError: it cannot be read.
        """
        path = self.directory / name
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - O_NOFOLLOW
                return file.read()
        except OSError as error:
            raise _refused(path, error) from error

    def read_json(self, name: str) -> object:
        """Return a file's content, parsed.

        Raises:
            UsageError: it cannot be read, or is not JSON.
        """
        try:
            return json.loads(self.read(name))
        except ValueError as error:
            raise broken(self.directory / name, str(error)) from error

    def parsed(self, name: str, schema: int, parse: Callable[[Any], T], *, missing: T) -> T:
        """Return what `parse` makes of a file's JSON; `missing` if there is no such file.

        Args:
            name: of the file.
            schema: the newest layout that we know.
            parse: gets the document; an error about a key, a type or a value says that it is damaged.
            missing: returned in place of a file.

        Raises:
            UsageError: it cannot be read, or is not what this tool writes.
        """
        if not self.has(name):
            return missing
        document: Any = self.read_json(name)
        try:
            if not 1 <= document["schema"] <= schema:
                what = f"schema {document['schema']} is not {schema}; a newer nodebake may have written it"
                raise ValueError(what)  # noqa: TRY301 - told below, as all that is wrong with it
            return parse(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise broken(self.directory / name, f"not what this tool writes ({error})") from error

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place of the one there may be; on the disk, by its name, when this returns.

        Raises:
            UsageError: the directory cannot be written to.
            BuildError: the disk is full or failed; the old file is still there.
        """
        path, new = self.directory / name, self.directory / (name + _NEW)
        try:
            try:
                _write_through(new, content, like=self.directory.stat())
                new.replace(path)
            except OSError:
                new.unlink(missing_ok=True)
                raise
            _sync(self.directory)
        except OSError as error:
            raise _refused(path, error) from error

    def write_json(self, name: str, content: object) -> None:
        """Write `content` as JSON, see `write`."""
        self.write(name, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")


@contextmanager
def locked(directory: Path) -> Iterator[Files]:
    """Make the directory if need be, check that nobody else can look in, and hold its lock.

    Raises:
        UsageError: it is no private directory of ours, or another build holds it.
    """
    try:
        _make(directory)
        _check_directory(directory)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _refused(directory, error) from error
    try:
        _hold(lock, directory)
        _check_files(directory)
        _sweep(directory)
        yield Files(directory=directory)
    finally:
        os.close(lock)


def broken(path: Path, why: str) -> UsageError:
    """Return the error for a file of the vault whose content makes no sense."""
    return UsageError(
        f"{path} is damaged: {why}",
        hint="put the vault's directory back from a backup; without one, keep it aside and build anew: "
        "every node then needs its new artefact",
    )


def _make(directory: Path) -> None:
    """Make the directory and those above it that are missing, 0700; the mode can only lose bits by umask."""
    missing = [path for path in (directory, *directory.parents) if not os.path.lexists(path)]
    for path in reversed(missing):
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue  # another build was faster
        _sync(path.parent)


def _check_directory(directory: Path) -> None:
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a directory"
        raise UsageError(
            f"the vault {directory} is {kind}",
            hint="name the directory itself with --vault, or move away what is there",
        )
    _check_mode(directory, status.st_mode, 0o700)


def _check_files(directory: Path) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode):
                raise UsageError(
                    f"{entry.path} is not a plain file, as everything in a vault is",
                    hint="move it out of the vault; if it is a link to one of the vault's files, "
                    "put the file itself in its place",
                )
            _check_mode(Path(entry.path), mode, 0o600)


def _check_mode(path: Path, mode: int, private: int) -> None:
    """Look at the bits themselves: what root may do says nothing about them."""
    if stat.S_IMODE(mode) & 0o077:
        raise UsageError(
            f"{path} holds secrets and is open to others (mode {stat.S_IMODE(mode):04o})",
            hint=f"if nobody has looked: chmod {private:04o} '{path}'",
        )
    if mode & private != private:
        raise UsageError(
            f"{path} cannot be read and written by its owner (mode {stat.S_IMODE(mode):04o})",
            hint=f"chmod {private:04o} '{path}'",
        )


def _hold(lock: int, directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        raise UsageError(
            f"the vault {directory} is in use by another build, process {holder}",
            hint=f"wait until it is done; ps -p {holder} shows what it is",
        ) from error
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        raise _refused(directory / "lock", error) from error


def _sweep(directory: Path) -> None:
    """Remove what a build that died was about to write; nothing has ever depended on it."""
    for path in directory.glob(f"*{_NEW}"):
        path.unlink()


def _write_through(path: Path, content: bytes, *, like: os.stat_result) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123 - born 0600
        if os.geteuid() == 0:  # writing cards needs root, and what root wrote the owner could not read
            os.fchown(file.fileno(), like.st_uid, like.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _refused(path: Path, error: OSError) -> NodebakeError:
    if error.errno in _DENIED:
        return UsageError(
            f"cannot use {path}: {error.strerror}",
            hint="make the vault yours and writable (chown, remount), or name another with --vault",
        )
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT):
        return UsageError(
            f"cannot use {path}: {error.strerror}", hint="name the vault's directory with --vault"
        )
    return BuildError(
        f"cannot use {path}: {error.strerror}",
        hint="the vault is as it was before; free the disk and build again",
    )
