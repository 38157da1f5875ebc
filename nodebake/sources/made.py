"""What takes minutes to make of many downloads: packed into a vendored directory, and unpacked from there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nodebake.command import find, run
from nodebake.errors import BuildError, InputError
from nodebake.sources.cache import SCRATCH

_FOLDER = "made"


def pack(home: Path, directory: Path) -> Path:
    """Put a directory of the cache into a vendored one, and return where it is.

    Raises:
        InputError: tar or zstd is not installed.
        BuildError: it could not be packed.
    """
    packed = _place(home, directory)
    packed.parent.mkdir(parents=True, exist_ok=True)
    part = packed.with_name(f".{packed.name}.part")
    find("zstd", package="zstd")
    run(
        [find("tar", package="tar"), "--zstd", "--sparse", "-C", home.parent, "-cf", part, home.name],
        timeout=3600,
    )
    part.replace(packed)
    return packed


def unpack(home: Path, mirror: str | None) -> bool:
    """Make a directory of the cache from what a vendored one has of it; tell whether it has.

    Raises:
        InputError: what is there is damaged.
    """
    packed = _place(home, Path(mirror)) if mirror and "://" not in mirror else None
    if packed is None or not packed.is_file():
        return False
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=SCRATCH) as scratch:
        try:
            run([find("tar", package="tar"), "--zstd", "-C", scratch, "-xf", packed], timeout=3600)
            (Path(scratch) / home.name).replace(home)
        except (BuildError, OSError) as error:
            raise InputError(f"{packed} cannot be used: {error}", hint="vendor it again") from error
    return True


def needed(what: str) -> InputError:
    """Return the error for what would have to be made, without a network to make it with."""
    hint = "./invoke vendor, where there is a network, puts it into the directory for --mirror"
    return InputError(
        f"{what} is neither in the cache nor in the mirror, and --offline forbids to make it", hint=hint
    )


def _place(home: Path, directory: Path) -> Path:
    return directory / _FOLDER / f"{home.name}.tar.zst"
