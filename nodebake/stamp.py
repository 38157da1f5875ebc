"""Whether a build would write anything: answered without loading the rooms that build.

A stamp stands for one command line. It says which files went in, what they held, and what came out; while
all that is so, and nothing that was issued has expired, building again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.manifest import MANIFEST, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

CHECKOUT = Path(__file__).resolve().parent.parent
_CODE = ("nodebake", "overlays", "sources.lock", "requirements.txt")
_BYTECODE = "__pycache__"
# In a vault, and in no artefact: the last build's process, the cards that were written, who signs.
_NOT_BAKED = frozenset({"lock", "cards.json", "signing.key", "signing.pub"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What a build went from and to.

    Attributes:
        out: the build's directory.
        inputs: files and directories that went in.
        digest: SHA-256 of what they hold, hexadecimal.
        manifest: SHA-256 of `manifest.json`, hexadecimal.
        until: when the first certificate expires, seconds since 1970.
    """

    out: str
    inputs: tuple[str, ...]
    digest: str
    manifest: str
    until: int


def name(told: Iterable[object]) -> str:
    """Return the file name of the stamp for a command line, told as values that JSON can hold."""
    made_by = (sys.version, zlib.ZLIB_RUNTIME_VERSION, *told)
    return hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:32] + ".json"


def make(out: Path, inputs: Iterable[Path], *, until: int) -> str:
    """Return the text of the stamp of the build that lies in `out`.

    Args:
        out: the build's directory.
        inputs: files and directories that went in, besides our own code.
        until: when the first certificate expires, seconds since 1970.
    """
    paths = (*(CHECKOUT / part for part in _CODE), *inputs)
    stamp = Stamp(
        out=str(out),
        inputs=tuple(map(str, paths)),
        digest=_digest(paths),
        manifest=hashlib.sha256(_manifest(out)).hexdigest(),
        until=until,
    )
    return json.dumps(asdict(stamp), indent=2) + "\n"


def unchanged(path: Path, *, now: float) -> tuple[Path, Manifest] | None:
    """Return the build's directory and manifest, if the build that left the stamp `path` would do nothing.

    Args:
        path: the stamp's file.
        now: seconds since 1970.
    """
    try:
        stamp = Stamp(**json.loads(path.read_text()))
        out, text = Path(stamp.out), _manifest(Path(stamp.out))
        manifest = Manifest.from_json(text.decode())
        same = (
            now < stamp.until
            and stamp.manifest == hashlib.sha256(text).hexdigest()
            and all(_is_whole(out / item.path, item.size, manifest.epoch) for item in manifest.artifacts)
            and stamp.digest == _digest(map(Path, stamp.inputs))
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (out, manifest) if same else None


def _manifest(out: Path) -> bytes:
    return (out / MANIFEST).read_bytes()


def _is_whole(path: Path, size: int, epoch: int) -> bool:
    found = path.stat()
    return (found.st_size, found.st_mtime_ns) == (size, epoch * 10**9)


def _digest(inputs: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for root in inputs:
        for path in _files(root):
            content = bytes(path.readlink()) if path.is_symlink() else path.read_bytes()
            digest.update(f"{path}\0{path.is_symlink()}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    """Yield an input's files; a link to one is what it leads to, those in a directory are baked as links."""
    if root.is_file():
        yield root.resolve()
    elif root.is_dir():
        bytecode = {_BYTECODE} if root == CHECKOUT / "nodebake" else set[str]()
        yield from _below(root, _NOT_BAKED | bytecode, bytecode)


def _below(directory: Path, passed_over: AbstractSet[str], deeper: AbstractSet[str]) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.name in passed_over:
            continue
        if path.is_symlink() or path.is_file():
            yield path
        elif path.is_dir():
            yield from _below(path, deeper, deeper)
