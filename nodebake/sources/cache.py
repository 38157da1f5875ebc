"""The download cache: whole archives by name, and what was taken out of them by hash.

archives/<file name>      as downloaded, verified before it got this name
objects/<sha256>          one program or library each
resolved/<want>.json      which objects answer a want, and where they came from
locks/                    one empty file per archive, for flock; and one for the whole cache
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from nodebake.errors import InputError, SafetyError
from nodebake.manifest import UsedInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nodebake.progress import Progress
    from nodebake.sources.model import Linking

CHUNK = 1 << 20
SCRATCH = "making-"
"""How directories begin, in the cache, for what is being made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object, and how its file looked when its bytes were last hashed.

    An unchanged size, inode, and time of modification and of change stand for unchanged bytes: hashing
    40 MB would take a quarter of the second that a build with nothing to do may last.
    """

    sha256: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The answer to a want, as it is kept; `origin` says what it depends on in the lock file."""

    origin: str
    used: tuple[UsedInput, ...]
    fallback: str
    linking: Linking
    files: Mapping[str, Stored]
    runtime: Mapping[str, Stored]


@contextmanager
def in_use(root: Path, *, alone: bool = False) -> Iterator[None]:
    """Use a cache, together with whoever does; or alone, when nobody does.

    A cache that can only be read is used all the same.

    Raises:
        SafetyError: it is wanted alone, and somebody uses it.
    """
    with ExitStack() as held:
        try:
            (root / "locks").mkdir(parents=True, exist_ok=True)
            file = held.enter_context((root / "locks/in-use").open("ab"))
        except OSError:
            if alone:
                raise
        else:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
            except BlockingIOError as error:
                hint = "wait until no build, image, boot or vendor runs"
                raise SafetyError(f"the cache {root} is in use", hint=hint) from error
        yield


class Cache:
    """A directory that several builds may share at the same time."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def archive(self, name: str) -> Path:
        """Return where the archive `name` is or will be; its directory exists."""
        return self._directory("archives") / name

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keep other builds from downloading the same archive at the same time."""
        with (self._directory("locks") / name).open("wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def has(self, name: str, sha256: str, progress: Progress) -> bool:
        """Tell whether the archive `name` is there, whole; a damaged one is named and removed."""
        path = self.archive(name)
        # Without the lock first: a cache that can only be read is good for reading.
        if not path.exists() or digest(path) == sha256:
            return path.exists()
        with self.locked(name):
            return heal(path, sha256, progress)

    def keep(self, name: str, content: bytes) -> None:
        """Store the archive `name`, whole or not at all."""
        _replace(self.archive(name), content)

    def put(self, content: bytes) -> Stored:
        """Store an object whole or not at all, and return what finds it again."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._directory("objects") / sha256
        _replace(path, content)
        return _look(path, sha256)

    def get(self, stored: Stored) -> bytes | None:
        """Return an object's bytes; None if they are gone or are not what was stored."""
        path = self._root / "objects" / stored.sha256
        try:
            same = _look(path, stored.sha256) == stored
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        return content if same or hashlib.sha256(content).hexdigest() == stored.sha256 else None

    def remember(self, key: str, resolved: Resolved) -> None:
        """Keep the answer to the want `key`."""
        _replace(self._directory("resolved") / f"{key}.json", json.dumps(asdict(resolved), indent=1).encode())

    def recall(self, key: str, *, origin: str) -> Resolved | None:
        """Return the answer to the want `key` if there is one and it depends on the same `origin`."""
        try:
            resolved = _parse(json.loads((self._root / "resolved" / f"{key}.json").read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            # A damaged note costs a second look at the archives, nothing more.
            return None
        return resolved if resolved.origin == origin else None

    def renew(self, key: str, resolved: Resolved) -> None:
        """Look at the objects' files again after a cache was copied, so that the next build need not hash.

        A cache that cannot be written is hashed every time, and good all the same.
        """
        files, runtime = self._relooked(resolved.files), self._relooked(resolved.runtime)
        if (files, runtime) != (resolved.files, resolved.runtime):
            with suppress(OSError):
                self.remember(key, replace(resolved, files=files, runtime=runtime))

    def _relooked(self, stored: Mapping[str, Stored]) -> dict[str, Stored]:
        objects = self._root / "objects"
        return {name: _look(objects / item.sha256, item.sha256) for name, item in stored.items()}

    def _directory(self, name: str) -> Path:
        directory = self._root / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory


def check(path: Path, sha256: str, *, todo: str) -> None:
    """Check a file against the hash it must have.

    Raises:
        InputError: it has another; the message has the file, both hashes and `todo`.
    """
    got = digest(path)
    if got != sha256:
        raise mismatch(str(path), expected=sha256, got=got, todo=todo)


def digest(path: Path) -> str:
    """Return a file's SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def heal(path: Path, sha256: str, progress: Progress) -> bool:
    """Tell whether the cache has a file whole; one that it has not is named, and removed to be had again.

    Whoever calls this holds the file's lock.
    """
    try:
        check(path, sha256, todo="it was cut short or altered: it goes, and is had again")
    except FileNotFoundError:
        return False
    except InputError as error:
        progress.note(str(error))
        path.unlink()
        return False
    return True


def remember(made: Path) -> None:
    """Note beside a file that was made here what it is, for `sound`; where nothing can be written, do not."""
    with suppress(OSError):
        _replace(_note(made), json.dumps(asdict(_look(made, digest(made)))).encode())


def intact(made: Path) -> bool:
    """Tell whether a file that was made here is there, as it was made."""
    if not made.exists():
        return False
    try:
        stored = Stored(**json.loads(_note(made).read_bytes()))
    except (OSError, ValueError, TypeError):
        remember(made)  # made before there were notes
        return True
    if _look(made, stored.sha256) == stored:
        return True
    if digest(made) != stored.sha256:
        return False
    remember(made)  # the cache was copied
    return True


def sound(made: Path, progress: Progress) -> bool:
    """Tell what `intact` tells; a file that is there and is not as it was made is named, and removed.

    Whoever calls this holds the file's lock.
    """
    if intact(made) or not made.exists():
        return made.exists()
    progress.note(f"{made} was cut short or altered since it was made: it goes, and is made anew")
    made.unlink()
    return False


def _note(made: Path) -> Path:
    return made.with_name(f"{made.name}.seen")


def mismatch(file: str, *, expected: str, got: str, todo: str) -> InputError:
    """Return the error for a file whose hash is not the pinned one."""
    return InputError(f"{file}: sha256 does not match\n  expected {expected}\n  got      {got}", hint=todo)


def _look(path: Path, sha256: str) -> Stored:
    seen = path.stat()
    return Stored(
        sha256=sha256,
        size=seen.st_size,
        mtime_ns=seen.st_mtime_ns,
        ctime_ns=seen.st_ctime_ns,
        inode=seen.st_ino,
    )


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _parse(document: Any) -> Resolved:  # noqa: ANN401 - JSON; a wrong shape raises, and the caller expects that
    return Resolved(
        origin=document["origin"],
        used=tuple(UsedInput(**item) for item in document["used"]),
        fallback=document["fallback"],
        linking=document["linking"],
        files={name: Stored(**item) for name, item in document["files"].items()},
        runtime={path: Stored(**item) for path, item in document["runtime"].items()},
    )
