"""The seed as an ISO 9660 image labelled cidata, laid out so that nodes differ only behind a common prefix.

pycdlib masters one image per layout; a node's image is that one's descriptors and directories, the shared
archive, and the node's own files, padded to the lengths the directory says. The same layout gives the same
bytes whatever the clock and the time zone. Names are Rock Ridge's, which every Linux reads; Joliet would only
cost room.
"""

from __future__ import annotations

import io
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pycdlib import PyCdlib
from pycdlib.dr import DirectoryRecord
from pycdlib.pycdlibexception import PyCdlibException

from nodebake.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LABEL = "cidata"
UNPACKED_LIMIT = 600 << 20
SECTOR = 2048
_SYSTEM_AREA = 16 * SECTOR  # unused; the primary volume descriptor follows (ECMA-119, 6.2.1 and 6.7.1)
_ROOT = _SYSTEM_AREA + 156  # its root directory record (ECMA-119, 8.4.18)
_DATES = _SYSTEM_AREA + 813  # creation, modification, expiration, effective: 17 bytes each (8.4.26)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A file's place in the image.

    Attributes:
        name: as the reader sees it.
        size: bytes, padding included.
    """

    name: str
    size: int


def head(slots: Sequence[Slot], *, epoch: int) -> tuple[bytes, bytes]:
    """Return everything in front of the first file's bytes: zeros, and what is not.

    The files follow in the order of `slots`, each filled up with zeros to a multiple of `SECTOR`.

    Args:
        slots: the files; all lie in the root directory.
        epoch: the time of everything in the image, seconds since 1970.
    """
    iso = PyCdlib()
    iso.new(interchange_level=3, vol_ident=LABEL, rock_ridge="1.09")
    # pycdlib lays files out in the order of their ISO names. Only their sizes are wanted here.
    names = [f"/{number}.;1" for number in range(len(slots))]
    with open("/dev/zero", "rb") as zeros:  # noqa: PTH123 - one open file for all
        for name, slot in zip(names, slots, strict=True):
            iso.add_fp(zeros, slot.size, name, rr_name=slot.name, file_mode=0o100400)
        iso.force_consistency()
        first = min(iso.get_record(iso_path=name).extent_location() for name in names)
        image = io.BytesIO()
        iso.write_fp(image)
    iso.close()
    fixed = bytearray(image.getbuffer()[: first * SECTOR])
    _set_times(fixed, epoch)
    return bytes(fixed[:_SYSTEM_AREA]), bytes(fixed[_SYSTEM_AREA:])


def unpack(packed: BinaryIO, to: Path, *, name: str, limit: int = UNPACKED_LIMIT) -> None:
    """Unpack an image with Rock Ridge names into the empty directory `to`: its files and directories.

    Args:
        packed: the image.
        to: where it goes.
        name: what to call it in messages.
        limit: bytes that all files together may have.

    Raises:
        InputError: it is no such image, is too large, or has what is neither file nor directory.
        OSError: as writing does.
    """
    iso = PyCdlib()
    try:
        iso.open_fp(packed)
        for folder, _, names in iso.walk(rr_path="/"):
            for path in (f"{folder.rstrip('/')}/{each}" for each in names):
                found = iso.get_record(rr_path=path)
                limit -= found.get_data_length()
                extensions = found.rock_ridge if isinstance(found, DirectoryRecord) else None
                if extensions is None or extensions.is_symlink() or ".." in path.split("/"):
                    raise InputError(f"{name}: has what is neither file nor directory: {path}")
                if limit < 0:
                    raise InputError(f"{name}: unpacks to more bytes than it may")
                (to / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
                iso.get_file_from_iso(str(to / path.lstrip("/")), rr_path=path)
    except (PyCdlibException, struct.error) as error:
        raise InputError(f"{name}: cannot be unpacked: {error}") from error
    finally:
        with suppress(PyCdlibException):
            iso.close()


def sectors(size: int) -> int:
    """Return `size` rounded up to whole sectors, in bytes."""
    return -(-size // SECTOR) * SECTOR


def _set_times(image: bytearray, epoch: int) -> None:
    """Replace every time in `image`: pycdlib takes the clock and the local zone, and cannot be told."""
    moment = time.gmtime(epoch)
    short = struct.pack("7B", moment.tm_year - 1900, *moment[1:6], 0)
    long = time.strftime("%Y%m%d%H%M%S00", moment).encode() + b"\0"
    for field in (0, 17, 51):  # not the expiration, which says "never"
        image[_DATES + field : _DATES + field + 17] = long
    for record in (_ROOT, *_records(image)):
        image[record + 18 : record + 25] = short
        _set_rock_ridge_times(image, record, short)


def _records(image: bytearray) -> Iterator[int]:
    """Yield where each record of the root directory begins (ECMA-119, 9.1)."""
    extent, size = struct.unpack_from("<L4xL", image, _ROOT + 2)
    at, end = extent * SECTOR, extent * SECTOR + size
    while at < end:
        if image[at]:
            yield at
            at += image[at]
        else:  # records do not cross sectors; zeros fill up the rest
            at = sectors(at + 1)


def _set_rock_ridge_times(image: bytearray, record: int, short: bytes) -> None:
    """Set the stamps of the record's TF entry (RRIP 1.12, 4.1.6), if it has one."""
    length, name = image[record], image[record + 32]
    at = record + 33 + name + (name % 2 == 0)
    while at + 4 <= record + length and image[at + 2] >= 4:  # noqa: PLR2004 - an entry's head
        if image[at : at + 2] == b"TF":
            count = image[at + 4].bit_count()
            image[at + 5 : at + 5 + 7 * count] = short * count
        at += image[at + 2]
