"""Two builds from the same vault and inputs are the same bytes, whoever builds, wherever and whenever."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nodebake.command import PATH
from tests.need import ROOT
from tests.unit.inputs import mirrored, profile

BUILD = """\
import os, sys
from pathlib import Path
from nodebake import pipeline
from nodebake.progress import Silent
place, out, jobs, umask = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4], 8)
os.umask(umask)
options = pipeline.Options(
    out=out, vault=place / "vault", jobs=jobs,
    lock=place / "sources.lock", mirror=str(place), cache=place / "cache",
)
pipeline.build(pipeline.resolve(str(place / "edge.yaml")), options=options, progress=Silent(), ask=None)
"""


def build(place: Path, out: Path, jobs: int, umask: str, env: dict[str, str], *user: str) -> None:
    """Build in a process of its own."""
    argv = [*user, sys.executable, "-c", BUILD, str(place), str(out), str(jobs), umask]
    environ = {"PATH": PATH, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **env}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, cwd="/")  # noqa: S603 - ours
    assert (done.returncode, done.stderr) == (0, "")


def files(directory: Path) -> dict[str, Path]:
    """Return every file below `directory` by its relative path."""
    return {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()}


def first_difference(one: Path, other: Path) -> str:
    """Return the first byte that differs between two builds, or nothing."""
    ours, theirs = files(one), files(other)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            return f"{name} is in one of them only"
        a, b = ours[name].read_bytes(), theirs[name].read_bytes()
        if a != b:
            unlike = (at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
            same = next(unlike, min(len(a), len(b)))
            return f"{name} differs from byte {same} on: {a[same : same + 16]!r} and {b[same : same + 16]!r}"
    return ""


def somebody_else(place: Path) -> tuple[str, ...]:
    """Return a command prefix that runs as another user, who gets `place`; nothing if that cannot be."""
    setpriv = shutil.which("setpriv", path=PATH)
    if os.geteuid() != 0 or setpriv is None:
        return ()
    user = (setpriv, "--reuid=65534", "--regid=65534", "--clear-groups")
    # A development interpreter in root's home cannot be started by others.
    if subprocess.run([*user, sys.executable, "-c", ""], capture_output=True, check=False).returncode:  # noqa: S603 - ours
        return ()
    for path in (place, *place.rglob("*")):
        os.chown(path, 65534, 65534)
    return user


@pytest.mark.parametrize(("system", "outputs"), [("debian", "[nocloud, rootfs]"), ("alpine", "[apkovl]")])
def test_two_builds_are_the_same_bytes(tmp_path: Path, system: str, outputs: str) -> None:
    """Other directory, user, umask, time zone, locale, hash seed and number of jobs: nothing shows."""
    here = tmp_path / "here"
    here.mkdir()
    profile(here, system, outputs)
    mirrored(here)
    env = {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"}
    build(here, tmp_path / "a", 1, "022", env)
    # pytest's own directories are closed to other users.
    with tempfile.TemporaryDirectory(prefix="nodebake-elsewhere-") as name:
        there = Path(name)
        shutil.copytree(here, there, dirs_exist_ok=True)
        env = {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "77", "HOME": "/nonexistent"}
        build(there, there / "b", 4, "077", env, *somebody_else(there))
        assert len(files(tmp_path / "a")) > 10
        assert first_difference(tmp_path / "a", there / "b") == ""


def test_a_difference_is_named_by_file_and_byte(tmp_path: Path) -> None:
    """The comparison above would tell where to look."""
    for name, content in (("a", b"same, then 1"), ("b", b"same, then 2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(content)
    told = first_difference(tmp_path / "a", tmp_path / "b")
    assert told == "f differs from byte 11 on: b'1' and b'2'"
