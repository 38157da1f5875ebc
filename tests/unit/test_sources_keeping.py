"""The cache heals itself, shows what it has, and gives up what nobody asks for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nodebake import command
from nodebake.bases import alpine
from nodebake.errors import SafetyError
from nodebake.sources import Sources
from nodebake.sources.cache import Cache, digest, in_use
from nodebake.sources.keeping import prune, shelves
from tests.need import ROOT, need, need_root
from tests.serving import Page, serving
from tests.unit import inputs, release
from tests.unit.inputs import WANT
from tests.unit.test_pipeline import Told

NAME = f"{inputs.RELEASE}.tar.gz"
FETCH = """\
import sys
from pathlib import Path
from nodebake.progress import Silent
from nodebake.sources import Sources
from tests.unit.inputs import WANT
place = Path(sys.argv[1])
Sources(lock=place / "sources.lock", cache=place / "cache", mirror=sys.argv[2], progress=Silent()).fetch(WANT)
"""


def sources(place: Path, told: Told) -> Sources:
    """Return what fetches from the mirror in `place`."""
    return Sources(lock=place / "sources.lock", cache=place / "cache", mirror=str(place), progress=told)


@pytest.mark.parametrize("damage", ["cut short", "altered"])
def test_a_damaged_download_is_named_and_had_again(tmp_path: Path, damage: str) -> None:
    """Whether a byte is missing or another one: the file and both hashes are told, and the build goes on."""
    inputs.mirrored(tmp_path)
    told = Told()
    first = sources(tmp_path, told).fetch(WANT)
    archive = tmp_path / "cache/archives" / NAME
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-1] if damage == "cut short" else b"!" + whole[1:])
    for path in (tmp_path / "cache/resolved").iterdir():
        path.unlink()
    assert sources(tmp_path, told).fetch(WANT) == first
    assert archive.read_bytes() == whole
    (note,) = told.notes
    assert note.startswith(f"{archive}: sha256 does not match\n  expected ")
    assert note.endswith("it was cut short or altered: it goes, and is had again")


def test_a_cache_that_can_only_be_read_is_good_for_reading() -> None:
    """Another user's build finds a whole file there without writing anything, locks neither."""
    setpriv = need("setpriv", package="util-linux")
    need_root()
    with tempfile.TemporaryDirectory(prefix="nodebake-test-") as name:
        place = Path(name)
        place.chmod(0o755)
        inputs.mirrored(place)
        sources(place, Told()).fetch(WANT)
        for path in (place / "cache/resolved").iterdir():
            path.unlink()
        argv = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
        script = (
            "import sys; from pathlib import Path; from nodebake.sources.cache import Cache; "
            "from nodebake.progress import Silent; "
            "print(Cache(Path(sys.argv[1])).has(sys.argv[2], sys.argv[3], Silent()))"
        )
        sha256 = digest(place / "cache/archives" / NAME)
        said = command.run(
            [*argv, sys.executable, "-P", "-c", script, place / "cache", NAME, sha256],
            env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert said == b"True\n"


def test_a_damaged_program_is_told_and_taken_out_anew(tmp_path: Path) -> None:
    """What was taken out of an archive is not believed either."""
    inputs.mirrored(tmp_path)
    told = Told()
    first = sources(tmp_path, told).fetch(WANT)
    for path in (tmp_path / "cache/objects").iterdir():
        path.write_bytes(b"rot")
    assert sources(tmp_path, told).fetch(WANT) == first
    assert [f"the cache has {WANT} no more as it was stored: it is taken anew"] == told.notes


def test_a_damaged_base_is_told_and_made_anew(tmp_path: Path) -> None:
    """What an image starts from is looked at like the rest; a copied cache is hashed, and good."""
    need("mcopy", package="mtools")
    need("mkfs.vfat", package="dosfstools")
    medium, told = release.tarball(tmp_path / "release.tar.gz", release.RPI), Told()

    def base() -> Path:
        made = alpine.card(alpine.RPI, medium, "0" * 64, own=1, cache=tmp_path / "bases", progress=told)
        return made.boot.image

    path = base()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert base().read_bytes() == whole
    assert [f"{path} was cut short or altered since it was made: it goes, and is made anew"] == told.notes
    shutil.copyfile(path, tmp_path / "copy")
    (tmp_path / "copy").replace(path)
    assert base().read_bytes() == whole
    assert 1 == len(told.notes)


def test_a_damaged_base_is_mended_under_its_lock(tmp_path: Path) -> None:
    """Who finds damage waits for who is mending it, and then takes what that one made."""
    need("mcopy", package="mtools")
    need("mkfs.vfat", package="dosfstools")
    medium, told, bases = (
        release.tarball(tmp_path / "release.tar.gz", release.RPI),
        Told(),
        tmp_path / "bases",
    )

    def base() -> Path:
        made = alpine.card(alpine.RPI, medium, "0" * 64, own=1, cache=bases, progress=told)
        return made.boot.image

    path = base()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with ThreadPoolExecutor(1) as pool:
        with Cache(tmp_path).locked(path.name):
            waiting = pool.submit(base)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1)
            assert path.read_bytes() == whole[:-1]
            path.write_bytes(whole)
        assert waiting.result(timeout=60).read_bytes() == whole
    assert [] == told.notes


def test_builds_at_once_share_a_damaged_cache(tmp_path: Path) -> None:
    """Several processes find the same bad file; one of them has it again, and all of them what is pinned."""
    inputs.mirrored(tmp_path)
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / "cache/archives").mkdir(parents=True)
    (tmp_path / "cache/archives" / NAME).write_bytes(b"rot")
    with serving() as site:
        page = site.pages[f"/{NAME}"] = Page(body=content, delay=0.01)
        env = {"PATH": command.PATH, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        argv = [sys.executable, "-c", FETCH, str(tmp_path), site.url]
        running = [subprocess.Popen(argv, env=env, stderr=subprocess.PIPE) for _ in range(3)]  # noqa: S603 - ours
        ended = [(one.communicate()[1], one.returncode) for one in running]
    assert [(b"", 0)] * 3 == ended
    assert [""] == page.asked
    assert (tmp_path / "cache/archives" / NAME).read_bytes() == content


def test_what_no_pin_names_is_shown_and_goes(tmp_path: Path) -> None:
    """An old release with its programs, half a download, the stamp of a build that is gone; nothing else."""
    inputs.mirrored(tmp_path)
    sources(tmp_path, Told()).fetch(WANT)
    cache, lock = tmp_path / "cache", tmp_path / "sources.lock"
    kept = {path for path in cache.rglob("*") if path.is_file()}
    old = json.loads(next((cache / "resolved").iterdir()).read_text())
    old["origin"] = "0" * 64
    old["files"]["etcd"]["sha256"] = "1" * 64
    gone = {
        cache / "archives/etcd-v3.4.0-host.tar.gz": "",
        cache / "archives" / f"{NAME}.part": "",
        cache / "objects" / ("1" * 64): "",
        cache / "resolved/etcd-3.4.0-host-etcd.pinned.json": json.dumps(old),
        cache / "resolved/rot.json": "{",
        cache / "archives" / f".{NAME}.1.2": "",
        cache / "bases/alpine-rpi-0000-1-32.fat": "",
        cache / "bases/making-root": "",
        cache / "vendoring-cut-short": "",
        cache / "stamps/a.json": json.dumps({"out": str(tmp_path / "no-build")}),
    }
    for path, text in gone.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = shelves(cache, lock)
    assert gone.keys() == {path for one in found for path in one.unused}
    prune(cache, lock)
    assert kept | {cache / "locks/in-use"} == {path for path in cache.rglob("*") if path.is_file()}
    assert not any(one.unused for one in shelves(cache, lock))
    assert not any(one.count for one in shelves(tmp_path / "no-cache", lock))


def test_nothing_goes_while_somebody_uses_the_cache(tmp_path: Path) -> None:
    """Half a download may be a running build's: exit 4, and all stays; many use it at once."""
    inputs.mirrored(tmp_path)
    cache, lock = tmp_path / "cache", tmp_path / "sources.lock"
    (cache / "archives").mkdir(parents=True)
    half = cache / "archives" / f"{NAME}.part"
    half.write_text("half")
    with in_use(cache), in_use(cache), pytest.raises(SafetyError, match=f"{cache} is in use") as caught:
        prune(cache, lock)
    assert (4, "half") == (caught.value.exit_code, half.read_text())
    prune(cache, lock)
    assert not half.exists()
