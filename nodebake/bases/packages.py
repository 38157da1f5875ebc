"""Which packages an operating system under an image consists of, from its own package manager's lists."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nodebake.bases.copyright import licence
from nodebake.command import find, run
from nodebake.errors import BuildError, InputError
from nodebake.sources import archive
from nodebake.sources.cache import SCRATCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.formats.card import Made

_STATUS, _DOCS = "/var/lib/dpkg/status", "/usr/share/doc"
_INDEX = "APKINDEX"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A binary package.

    Attributes:
        system: whose package it is.
        name: its name.
        version: as its system writes it.
        arch: as its system calls it.
        licence: as its system states it; empty where it states none that a program could read.
        sha256: of the package's file, hexadecimal; Debian's list has none.
    """

    system: Literal["alpine", "debian"]
    name: str
    version: str
    arch: str
    licence: str = ""
    sha256: str = ""


def of_medium(boot: Made) -> tuple[Package, ...]:
    """Return the packages on Alpine's boot medium, and note them beside it for the next time.

    Raises:
        InputError: mtools is not installed.
        BuildError: they cannot be read.
        OSError: as writing does.
    """
    note = boot.image.with_suffix(".packages.json")
    with suppress(OSError, ValueError, TypeError):
        return tuple(Package(**row) for row in json.loads(note.read_bytes()))
    with tempfile.TemporaryDirectory(dir=note.parent, prefix=SCRATCH) as scratch:
        run(
            [find("mcopy", package="mtools"), "-s", "-n", "-i", boot.image, "::/apks", scratch],
            env={"MTOOLS_SKIP_CHECK": "1"},
        )
        rows = tuple(_on_medium(Path(scratch) / "apks"))
        new = Path(scratch) / "packages"
        new.write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
        new.replace(note)
    return rows


def of_root(root: Made) -> tuple[Package, ...]:
    """Return the packages that are installed on Debian's root.

    Raises:
        InputError: e2fsprogs is not installed.
        BuildError: they cannot be read.
    """
    debugfs = find("debugfs", package="e2fsprogs")
    status = run([debugfs, "-R", f"cat {_STATUS}", root.image]).decode(errors="replace")
    with tempfile.TemporaryDirectory() as scratch:
        run([debugfs, "-R", f"rdump {_DOCS} {scratch}", root.image])
        docs = Path(scratch) / Path(_DOCS).name
        return tuple(
            Package(
                system="debian",
                name=one["Package"],
                version=one["Version"],
                arch=one["Architecture"],
                licence=licence(_stanzas(_copyright(docs, one["Package"]), ":")),
            )
            for one in _stanzas(status, ": ")
            if one.get("Status", "").endswith(" installed")
        )


def _copyright(docs: Path, package: str) -> str:
    """Return a package's copyright file; its directory may be a link to another package's."""
    folder = docs / package
    path = (docs / folder.readlink().name if folder.is_symlink() else folder) / "copyright"
    return path.read_text(errors="replace") if path.is_file() and not path.is_symlink() else ""


def _on_medium(apks: Path) -> Iterator[Package]:
    for folder in sorted(path for path in apks.iterdir() if path.is_dir()):
        listed = {(one["P"], one["V"]): one for one in _index(folder / f"{_INDEX}.tar.gz")}
        for path in sorted(folder.glob("*.apk")):
            # A name may have dashes; version and revision have one between them (apk-package(5)).
            name, *version = path.stem.rsplit("-", 2)
            told = listed.get((name, "-".join(version)), {})
            yield Package(
                system="alpine",
                name=name,
                version="-".join(version),
                arch=told.get("A", folder.name),
                licence=told.get("L", ""),
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            )


def _index(path: Path) -> Iterator[dict[str, str]]:
    if not path.exists():
        return
    try:
        found = archive.members(io.BytesIO(path.read_bytes()), name=path.name, wanted=_INDEX.__eq__)
    except InputError as error:
        raise BuildError(f"the list of packages on Alpine's medium cannot be read: {error}") from error
    yield from _stanzas(found.get(_INDEX, b"").decode(errors="replace"), ":")


def _stanzas(text: str, colon: str) -> Iterator[dict[str, str]]:
    for stanza in text.split("\n\n"):
        pairs = (line.partition(colon) for line in stanza.splitlines() if line[:1] not in {"", " "})
        fields = {key: value.strip() for key, _, value in pairs}
        if fields:
            yield fields
