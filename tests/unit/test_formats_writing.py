"""Files on disk: whole or not at all, private, hashed."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from nodebake.errors import BuildError
from nodebake.formats import writing
from nodebake.formats.packing import Prefix
from nodebake.manifest import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EPOCH = 1_700_000_000


def test_an_artifact_is_what_is_on_the_disk(tmp_path: Path) -> None:
    """Size, digest, time and mode are the file's."""
    prefix = Prefix.of(b"shared ", b"bytes ")
    (tmp_path / "n1").mkdir()
    path = tmp_path / "n1" / "f"
    written = writing.artifact("seed", path, b"own", root=tmp_path, epoch=EPOCH, prefix=prefix)
    assert path.read_bytes() == b"shared bytes own"
    digest = hashlib.sha256(b"shared bytes own").hexdigest()
    assert written == Artifact(kind="seed", path="n1/f", size=16, sha256=digest, shared=((0, 7), (7, 13)))
    found = path.stat()
    assert (found.st_mode & 0o777, found.st_mtime_ns) == (0o600, EPOCH * 10**9)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    """Ctrl-C in the middle: the old bytes are there, and no other file is."""
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writing.replace(path, chunks(), epoch=EPOCH)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space left: the message names the file, and the old one is unchanged."""
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(BuildError, match=rf"cannot write {path}: No space left on device"):
        writing.replace(path, [b"new"], epoch=EPOCH)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_killed_build_are_dropped(tmp_path: Path) -> None:
    """A part that a killed build left is gone when the next one begins; other files stay."""
    (tmp_path / f"{writing.PART}123").write_bytes(b"half")
    (tmp_path / "kept").write_bytes(b"")
    writing.private(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_directory_that_cannot_be_made_is_a_message(tmp_path: Path) -> None:
    """A file in the way of the build's directory is told as such."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BuildError, match=r"cannot write .*file/n1"):
        writing.private(tmp_path / "file" / "n1")
