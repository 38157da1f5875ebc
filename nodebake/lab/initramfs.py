"""A small initramfs: a `Tree` as a cpio archive, and the kernel modules a guest needs, in loading order.

Format: newc, Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
"""

from __future__ import annotations

import lzma
import stat
from typing import TYPE_CHECKING

from nodebake.errors import BuildError
from nodebake.tree import Entry, Tree, file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_TRAILER = "TRAILER!!!"


def cpio(tree: Tree) -> bytes:
    """Return `tree` as a newc archive, uncompressed: emulated processors unpack slowly."""
    records = [_record(number, path, entry) for number, (path, entry) in enumerate(tree.items(), start=1)]
    return b"".join((*records, _record(0, _TRAILER, Entry(mode=0))))


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


def modules(directory: Path, wanted: Iterable[str]) -> Tree:
    """Return the modules `wanted`, uncompressed, as `modules/NN-name.ko`: their order is to load them in.

    Args:
        directory: `lib/modules/<release>` of an unpacked system.
        wanted: module names.

    Raises:
        BuildError: the system has no modules.dep.
    """
    try:
        text = (directory / "modules.dep").read_text(encoding="utf-8")
    except OSError as error:
        raise BuildError(f"{directory} has no kernel modules: {error}") from error
    paths = closure(text, wanted)
    return Tree(
        {
            f"modules/{number:02}-{_name(path)}.ko": file(_plain(directory / path))
            for number, path in enumerate(paths)
        }
    )


def _name(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _plain(path: Path) -> bytes:
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def _record(number: int, path: str, entry: Entry) -> bytes:
    name = path.encode() + b"\0"
    content = b"" if stat.S_ISDIR(entry.mode) else entry.content
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, entry.uid, entry.gid, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return header.ljust(_aligned(len(header)), b"\0") + content.ljust(_aligned(len(content)), b"\0")


def _aligned(size: int) -> int:
    return -(-size // 4) * 4
