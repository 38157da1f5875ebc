"""Builds made twice under unlike conditions: every profile we ship, and what is said of a difference."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodebake import pipeline
from nodebake.components import chosen
from nodebake.errors import BuildError
from nodebake.profile.load import names
from nodebake.progress import Silent
from nodebake.reproducing import Difference, compare, reproduce
from nodebake.reproducing.running import _same
from tests.need import ROOT, need
from tests.unit import inputs, release
from tests.unit.inputs import MACHINES, busybox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.plan import Plan
    from nodebake.sources import Want

RPI = "alpine-rpi-3.20.3-aarch64.tar.gz"
LOCK = """\
schema = 1
[debian]
mirror = "http://debian.invalid"
suite = "trixie"
component = "main"
runtime = "libc6"
keyrings = ["/dev/null"]
arches = {}
"""


def stand_ins(directory: Path, plan: Plan) -> pipeline.Options:
    """Return options of a build with small programs in the place of all that `plan` wants."""
    lock, mirror = directory / "sources.lock", directory / "mirror"
    mirror.mkdir()
    wants = dict.fromkeys(want for component in chosen(plan) for want in component.wants(plan))
    lock.write_text(LOCK + "".join(_pinned(mirror, want) for want in wants))
    return pipeline.Options(
        out=directory / "out",
        vault=directory / "vault",
        lock=lock,
        cache=directory / "cache",
        mirror=str(mirror),
        offline=True,
    )


def _pinned(mirror: Path, want: Want) -> str:
    """Put an input into `mirror` and return its pin."""
    program = bytearray(busybox())
    program[18] = MACHINES[want.arch]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for number, name in enumerate(want.files):
            member = tarfile.TarInfo(name)
            member.size = len(program) - number
            archive.addfile(member, io.BytesIO(program))
    content = bytes(program) if want.whole else packed.getvalue()
    name = f"{want.name}-{want.version}" + ("" if want.whole else ".tar")
    (mirror / name).write_bytes(content)
    members = "" if want.whole else 'members = "{file}"\n'
    files = ", ".join(f'"{file}"' for file in want.files)
    return f"""
[{want.name}]
url = "http://upstream.invalid/{want.name}-{{version}}{"" if want.whole else ".tar"}"
{members}files = [{files}]
arches = {{{want.arch} = "{want.arch}"}}
[{want.name}.releases."{want.version}"]
sha256.{want.arch} = "{hashlib.sha256(content).hexdigest()}"
confidence = "C"
confirmed = false
"""


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Return a directory that other users can come to; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="nodebake-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("name", names())
def test_every_shipped_profile_is_the_same_twice(open_place: Path, name: str) -> None:
    """Other directory, user, umask, clock, zone, locale, processors, jobs and hash seed: no byte differs."""
    need("faketime", package="faketime")
    need("setpriv", package="util-linux")
    plan = pipeline.resolve(name)
    options = stand_ins(open_place, plan)
    done = reproduce(plan, options, images=False, checkout=ROOT, progress=Silent())
    assert done.files > 3 * len(plan.nodes)
    assert "clock (+37h)" in done.changed
    assert not options.out.exists()
    assert not options.vault.exists()


def test_images_are_the_same_twice(tmp_path: Path) -> None:
    """Whole cards, compressed ones and their bills of materials, too."""
    need("mcopy", package="mtools")
    path = inputs.on_a_pi(tmp_path)
    base = release.tarball(tmp_path / RPI, release.RPI)
    options = inputs.options(tmp_path, arch="aarch64", base=base, zst=True)
    done = reproduce(pipeline.resolve(path), options, images=True, checkout=ROOT, progress=Silent())
    assert done.size > 1 << 28


def test_the_first_difference_is_named_by_file_and_byte(tmp_path: Path) -> None:
    """Far into a file, at its end, in a file that one build has not; and nothing where all is the same."""
    one, other = tmp_path / "one", tmp_path / "other"
    for place in (one, other):
        (place / "x-1").mkdir(parents=True)
        (place / "x-1/a").write_bytes(bytes(3 << 20) + b"same")
    assert compare(one, other) is None
    for number, place in enumerate((one, other)):
        (place / "SHA256SUMS").write_text(str(number))
    assert Difference(path="SHA256SUMS", at=0, ours=b"0", theirs=b"1") == compare(one, other)
    (other / "x-1/b").write_bytes(b"")
    assert Difference(path="x-1/b", at=None) == compare(one, other)
    (one / "x-1/a").write_bytes(bytes(3 << 20) + b"sane")
    assert Difference(path="x-1/a", at=(3 << 20) + 2, ours=b"ne", theirs=b"me") == compare(one, other)
    (one / "x-1/a").write_bytes(bytes(3 << 20))
    assert Difference(path="x-1/a", at=3 << 20, ours=b"", theirs=b"same") == compare(one, other)
    with pytest.raises(BuildError, match=r"differ: x-1/a differs from byte 3145728 on:  and 73 61 6d 65"):
        _same(one, other)


def test_diffoscope_explains_a_difference(tmp_path: Path) -> None:
    """Inside an archive it names the file and the line; ours names the archive and the byte."""
    need("diffoscope", package="diffoscope-minimal")
    for place, told in (("one", "etcd 1"), ("other", "etcd 2")):
        (tmp_path / place).mkdir()
        with tarfile.open(tmp_path / place / "x-1.apkovl.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo("etc/motd")
            member.size = len(told)
            archive.addfile(member, io.BytesIO(told.encode()))
    with pytest.raises(BuildError, match=r"(?s)x-1\.apkovl\.tar\.gz differs.*etc/motd.*-etcd 1.*\+etcd 2"):
        _same(tmp_path / "one", tmp_path / "other")
