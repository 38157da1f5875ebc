"""A small initramfs: a `Tree` as a cpio archive, and the kernel modules a guest needs, in loading order.

Format: newc, Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
"""

from __future__ import annotations

import gzip
import lzma
import stat
import zlib
from typing import TYPE_CHECKING

from zstandard import ZstdDecompressor, ZstdError

from nodebake.errors import BuildError
from nodebake.tree import Entry, Tree, file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_TRAILER = "TRAILER!!!"
_MAGIC, _HEADER = b"070701", 110
_PACKED = {b"\x1f\x8b": gzip.decompress, b"\xfd7": lzma.decompress}
_ZSTD = b"\x28\xb5\x2f\xfd"
_LIMIT = 1 << 30  # bytes; an initramfs unpacks to some ten megabytes
_UNPACK = {"xz": lzma.decompress, "gz": gzip.decompress}


def cpio(tree: Tree) -> bytes:
    """Return `tree` as a newc archive, uncompressed: emulated processors unpack slowly."""
    records = [_record(number, path, entry) for number, (path, entry) in enumerate(tree.items(), start=1)]
    return b"".join((*records, _record(0, _TRAILER, Entry(mode=0))))


def read_cpio(packed: bytes) -> Tree:
    """Return what is in an initramfs: newc archives one after the other, compressed or not.

    Raises:
        ValueError: it is none.
    """
    archive = _unpacked(packed)
    entries: dict[str, Entry] = {}
    at = 0
    while at < len(archive):
        if archive[at : at + 1] == b"\0":  # padding after an archive
            at += 4
            continue
        if archive[at : at + 6] != _MAGIC:
            raise ValueError("it is no newc archive")
        mode, uid, gid, size, name_size = (
            int(archive[at + 6 + 8 * field : at + 14 + 8 * field], 16) for field in (1, 2, 3, 6, 11)
        )
        start = at + _aligned(_HEADER + name_size)
        path = archive[at + _HEADER : at + _HEADER + name_size - 1].decode()
        at = start + _aligned(size)
        if path not in {_TRAILER, "."}:
            entries[path] = Entry(mode=mode, content=archive[start : start + size], uid=uid, gid=gid)
    return Tree(entries)


def closure(dependencies: str, wanted: Iterable[str]) -> tuple[str, ...]:
    """Return the files of the modules `wanted` and of all they need, each after what it needs.

    Args:
        dependencies: the text of modules.dep.
        wanted: module names; one that is built into the kernel is left out.
    """
    needs: Mapping[str, list[str]] = {
        path.strip(): rest.split()
        for path, _, rest in (line.partition(":") for line in dependencies.splitlines())
    }
    by_name = {_name(path): path for path in needs}
    ordered: dict[str, None] = {}
    for name in wanted:
        path = by_name.get(name.replace("-", "_"))
        if path:
            # depmod lists the last to be loaded first.
            ordered |= dict.fromkeys([*reversed(needs[path]), path])
    return tuple(ordered)


def modules(read: Callable[[str], bytes], wanted: Iterable[str]) -> Tree:
    """Return the modules `wanted`, uncompressed, as `modules/NN-name.ko`: their order is to load them in.

    Args:
        read: returns a file's bytes by its path in `lib/modules/<release>`.
        wanted: module names.

    Raises:
        BuildError: the system has no modules.dep.
    """
    try:
        text = read("modules.dep").decode()
    except (OSError, KeyError) as error:
        raise BuildError(f"the system has no kernel modules: {error}") from error
    return Tree(
        {
            f"modules/{number:02}-{_name(path)}.ko": file(_plain(path, read(path)))
            for number, path in enumerate(closure(text, wanted))
        }
    )


def _name(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _unpacked(packed: bytes) -> bytes:
    try:
        if packed.startswith(_ZSTD):
            return ZstdDecompressor().decompress(packed, max_output_size=_LIMIT)
        return next((unpack for magic, unpack in _PACKED.items() if packed.startswith(magic)), bytes)(packed)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, ZstdError) as error:
        raise ValueError(str(error)) from error


def _plain(path: str, content: bytes) -> bytes:
    return _UNPACK.get(path.rpartition(".")[2], bytes)(content)


def _record(number: int, path: str, entry: Entry) -> bytes:
    name = path.encode() + b"\0"
    content = b"" if stat.S_ISDIR(entry.mode) else entry.content
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, entry.uid, entry.gid, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = _MAGIC + b"".join(b"%08X" % field for field in fields) + name
    return header.ljust(_aligned(len(header)), b"\0") + content.ljust(_aligned(len(content)), b"\0")


def _aligned(size: int) -> int:
    return -(-size // 4) * 4
