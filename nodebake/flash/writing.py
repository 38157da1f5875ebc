"""Putting an image onto a card, and reading it back: past all caches, first piece last."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.errors import BuildError, NodebakeError, SafetyError, UsageError
from nodebake.flash.mapping import PIECE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nodebake.progress import Progress

# linux/fs.h: write out and forget what is cached of a device; read its partition table again.
_BLKFLSBUF, _BLKRRPART = 0x1261, 0x125F
_STEP = 4096  # O_DIRECT wants places, sizes and memory on multiples of the device's sector
_GONE = {errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.ESHUTDOWN}


class CardError(BuildError):
    """A card that could not be written or read back."""

    def __init__(self, what: str, *, hint: str, bad: bool) -> None:
        super().__init__(what, hint=hint)
        self.what, self.bad = what, bad


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One image and where it goes.

    Attributes:
        image: the file.
        pieces: where the pieces begin that are written, in order; the first has the partition table.
        device: the card's device.
        size: bytes of the device.
    """

    image: Path
    pieces: tuple[int, ...]
    device: Path
    size: int


def write(job: Job, progress: Progress) -> tuple[bytes, ...]:
    """Write the pieces and return their digests.

    Beginning and end are wiped first, and the first piece comes last: a card that was not finished has no
    partition table, and nothing of an earlier life is found at its end.

    Raises:
        SafetyError: somebody uses the device.
        UsageError: it may not be written to.
        CardError: the card failed, or was taken out.
    """
    digests: dict[int, bytes] = {}
    zeros, block = _buffer(), _buffer()
    with job.image.open("rb") as image, _opened(job.device, os.O_RDWR) as device:
        for at in (0, (job.size - PIECE) // _STEP * _STEP):
            _put(job, device, zeros[: job.size - at], at)
        with _told(f"writing {job.device}", job, progress) as advance:
            for at in (*job.pieces[1:], job.pieces[0]):
                piece = _read(image.fileno(), block, at)
                _put(job, device, piece, at)
                digests[at] = hashlib.sha256(piece).digest()
                advance(len(piece))
        _finish(job, device)
    return tuple(digests[at] for at in job.pieces)


def compare(job: Job, written: tuple[bytes, ...], progress: Progress) -> None:
    """Read the card, not the cache, and see that it has what was written.

    Raises:
        CardError: it has not, or cannot be read.
    """
    block = _buffer()
    with _opened(job.device, os.O_RDONLY) as device:
        with suppress(OSError):
            fcntl.ioctl(device, _BLKFLSBUF)
        with _told(f"reading {job.device} back", job, progress) as advance:
            for at, digest in zip(job.pieces, written, strict=True):
                try:
                    piece = _read(device, block, at, most=job.image.stat().st_size - at)
                except OSError as error:
                    raise _failed(job, error, at, "read") from error
                if hashlib.sha256(piece).digest() != digest:
                    raise CardError(
                        f"{job.device}: what was written at {at // PIECE} MiB reads back as something else",
                        hint="the card is not what it says it is, or worn out; take another one",
                        bad=True,
                    )
                advance(len(piece))


def probe(device: Path) -> None:
    """See that the device can be opened, and that nobody uses it, here or in another namespace.

    Raises:
        SafetyError: somebody does.
        UsageError: it may not be written to.
        CardError: it cannot be opened.
    """
    with _opened(device, os.O_RDWR):
        pass


def spoil(job: Job) -> None:
    """Take the partition table off a card that is no good, if it lets us: no machine is to start from it."""
    with suppress(OSError, NodebakeError), _opened(job.device, os.O_RDWR) as device:
        _put(job, device, _buffer(), 0)
        _finish(job, device)


def reread(job: Job) -> None:
    """Have the kernel look at the new partitions; if it cannot, it will when the card is put in again."""
    with suppress(OSError, NodebakeError), _opened(job.device, os.O_RDONLY) as device:
        fcntl.ioctl(device, _BLKRRPART)


@contextmanager
def _opened(path: Path, mode: int) -> Iterator[int]:
    """Open the device for nobody else: the kernel refuses while a file system, swap, LVM or RAID has it."""
    try:
        device = os.open(path, mode | os.O_EXCL | os.O_CLOEXEC | os.O_DIRECT)
    except PermissionError as error:
        hint = "run it as root, or as a member of the group disk"
        raise UsageError(f"{path} may not be opened by this user", hint=hint) from error
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise SafetyError(
                f"{path}: is in use, perhaps by another program or in a container",
                hint=f"find out with: fuser --verbose {path}*; lsblk {path}",
            ) from error
        hint = "put the card in, and look with lsblk"
        raise CardError(f"{path} cannot be opened: {error.strerror}", hint=hint, bad=False) from error
    try:
        yield device
    finally:
        os.close(device)


def _buffer() -> memoryview:
    """Return memory that O_DIRECT can use: a piece of zeros, and what is left at the end of an odd card."""
    return memoryview(mmap.mmap(-1, PIECE + _STEP))


@contextmanager
def _told(task: str, job: Job, progress: Progress) -> Iterator[Callable[[int], None]]:
    progress.start(task, len(job.pieces) * PIECE)
    try:
        yield lambda units: progress.advance(task, units)
    finally:
        progress.finish(task)


def _read(source: int, block: memoryview, at: int, *, most: int = PIECE) -> memoryview:
    """Return the piece at `at`, up to whole sectors; what a file has not is zeros."""
    wanted = min(PIECE, -(-most // _STEP) * _STEP)
    read = os.preadv(source, [block[:wanted]], at)
    whole = -(-read // _STEP) * _STEP
    block[read:whole] = bytes(whole - read)
    return block[:whole]


def _put(job: Job, device: int, piece: memoryview, at: int) -> None:
    done = 0
    try:
        while done < len(piece):
            done += os.pwrite(device, piece[done:], at + done)
    except OSError as error:
        raise _failed(job, error, at + done, "written to") from error


def _finish(job: Job, device: int) -> None:
    try:
        os.fsync(device)
    except OSError as error:
        raise _failed(job, error, None, "written to") from error


def _failed(job: Job, error: OSError, at: int | None, what: str) -> CardError:
    """Return what to raise; without a place where the kernel noticed only at the end."""
    if error.errno in _GONE or not _is_there(job.device):
        when = "at the end" if at is None else f"after {at // PIECE} MiB"
        return CardError(
            f"{job.device} is gone: the card was taken out, or its reader, {when}",
            hint="what is on it cannot be relied on; put it back and flash it again",
            bad=False,
        )
    where = "" if at is None else f" at {at // PIECE} MiB"
    return CardError(
        f"{job.device} cannot be {what}{where}: {error.strerror}",
        hint="the card is worn out or broken, or its reader is; take another one",
        bad=True,
    )


def _is_there(device: Path) -> bool:
    try:
        return device.is_block_device() and int(Path(f"/sys/class/block/{device.name}/size").read_text()) > 0
    except (OSError, ValueError):
        return False
