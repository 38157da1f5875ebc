"""Promises of writing a card: to real block devices, read back with the tools of others."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nodebake import pipeline
from nodebake.command import find, run
from nodebake.errors import SafetyError, UsageError
from nodebake.flash import Options, Permission, Wanted
from nodebake.flash import run as flash
from nodebake.flash.mapping import PIECE, pieces
from nodebake.flash.writing import CardError
from nodebake.progress import Silent
from nodebake.vault import cards
from tests.need import ROOT, need, need_root
from tests.unit import release
from tests.unit.test_console import invoke
from tests.unit.test_image import RPI, image, on_node, profile
from tests.unit.test_pipeline import contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nodebake.plan import Plan

SIZE = 200 << 20


class Watch(Silent):
    """A listener that remembers what was told, and does something when a task has come so far."""

    def __init__(self, task: str = "", after: int = 0, do: Callable[[], object] = lambda: None) -> None:
        self.told: list[str] = []
        self._task, self._left, self._do = task, after, do

    def start(self, task: str, total: int | None = None) -> None:
        """Count the beginning, too."""
        super().start(task, total)
        self.advance(task)

    def advance(self, task: str, units: int = 1) -> None:
        """Count a piece."""
        del units
        if self._task and task.startswith(self._task):
            self._left -= 1
            if self._left == 0:
                self._do()

    def note(self, text: str) -> None:
        """Remember it."""
        self.told.append(text)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a profile and its images."""
    need_root()
    for tool, package in (("mcopy", "mtools"), ("mkfs.vfat", "dosfstools"), ("sfdisk", "fdisk")):
        need(tool, package=package)
    directory = tmp_path_factory.mktemp("built")
    profile(directory)
    release.tarball(directory / RPI, release.RPI)
    image(directory)
    return directory


@pytest.fixture
def plan(built: Path) -> Plan:
    """Return the plan of the images."""
    return pipeline.resolve(str(built / "edge.yaml"))


@contextmanager
def reader(path: Path, size: int = SIZE) -> Iterator[str]:
    """Give the device of a card reader with a card in it: a file, made if it is not there."""
    if not path.exists():
        with path.open("wb") as file:
            file.truncate(size)
    device = run(["losetup", "--find", "--show", path]).decode().strip()
    try:
        yield device
    finally:
        run(["losetup", "--detach", device])


@pytest.fixture
def card(tmp_path: Path) -> Iterator[str]:
    """Return the device of an empty card."""
    with reader(tmp_path / "card") as device:
        yield device


def options(built: Path, device: str, **changes: Any) -> Options:  # noqa: ANN401 - fields of the options
    """Return options that allow this loop device, which does not look like a card."""
    told = Options(
        out=built / "out",
        vault=built / "vault",
        checkout=ROOT,
        allowed=Permission(known=serial(device)),
        yes=True,
    )
    return replace(told, **changes)


def serial(device: str, size: int = SIZE) -> str:
    """Return what a loop device is known as: it has no serial number."""
    return f"{Path(device).name}-{size}"


def partition(path: Path, number: int) -> Path:
    """Return a copy of a partition of a card."""
    lines = run(["sfdisk", "--dump", path]).decode().splitlines()
    words = [line for line in lines if "start=" in line][number - 1].replace(",", " ").split()
    start, size = (int(words[words.index(name) + 1]) for name in ("start=", "size="))
    to = path.with_name(f"p{number}")
    run(["dd", f"if={path}", f"of={to}", "bs=512", f"skip={start}", f"count={size}", "conv=sparse"])
    return to


def read_back(path: Path) -> dict[str, bytes]:
    """Return the files on the card's first partition, after its file systems were found sound."""
    first = partition(path, 1)
    run([need("fsck.fat", package="dosfstools"), "-n", first])
    run(["e2fsck", "-fn", partition(path, 2)])
    to = path.with_name("read")
    to.mkdir()
    run(["mcopy", "-s", "-n", "-i", first, "::", to])
    return contents(to)


def test_card_that_was_used_before_becomes_the_image(built: Path, plan: Plan, tmp_path: Path) -> None:
    """Over other bytes and a GPT: sound file systems with their files, and nothing left of the GPT."""
    path = tmp_path / "card"
    path.write_bytes(b"\xa5" * SIZE)
    run(["sfdisk", "--quiet", "--wipe=never", path], stdin=b"label: gpt\nsize=50MiB\n")
    with reader(path) as device:
        flash(plan, Wanted(node="x-1", device=device), options(built, device))
    assert read_back(path).items() >= (release.RPI | on_node(built / "out/x-1")).items()
    assert "gpt" not in run(["wipefs", "--no-act", path]).decode()
    assert "PTTYPE=dos" in run(["blkid", "--probe", "--output", "export", path]).decode()


def test_zeros_reach_the_card_where_a_copy_has_holes(built: Path, plan: Plan, tmp_path: Path) -> None:
    """An image that lost its zeros to holes, as unzstd makes them, is still written whole."""
    copied = tmp_path / "built"
    run(["cp", "--recursive", "--sparse=always", built, copied])
    path = tmp_path / "card"
    path.write_bytes(b"\xff" * SIZE)
    with reader(path) as device:
        flash(plan, Wanted(node="x-2", device=device), options(copied, device))
    assert "x-2.apkovl.tar.gz" in read_back(path)


def test_free_space_is_not_written(built: Path) -> None:
    """What no file has on the boot partition is left out: most of an image."""
    path = built / "out/x-1/x-1.img"
    written = pieces(path)
    assert written[0] == 0
    assert len(written) * PIECE < path.stat().st_size / 2


def test_card_is_recorded(built: Path, plan: Plan, card: str) -> None:
    """The vault knows which card went to which node, with which image."""
    watch = Watch()
    flash(plan, Wanted(node="x-3", device=card), options(built, card, progress=watch))
    row = cards(built / "vault")[-1]
    expected = (serial(card), False, SIZE, "x-3", "")
    assert expected == (row.serial, row.own, row.size, row.node, row.failed)
    assert row.image in (built / "out/SHA256SUMS").read_text()
    assert any("read back as it was written" in line for line in watch.told)


def test_card_without_a_vault_is_told(built: Path, plan: Plan, card: str, tmp_path: Path) -> None:
    """Where only the images are, the card is written and no vault appears."""
    watch, vault = Watch(), tmp_path / "none"
    flash(plan, Wanted(node="x-1", device=card), options(built, card, vault=vault, progress=watch))
    assert f"not recorded: there is no vault in {vault}" in watch.told
    assert not vault.exists()


def test_write_error_marks_the_card_as_bad(built: Path, plan: Plan, tmp_path: Path) -> None:
    """A card that takes no more half-way is told with the place, recorded, and has no partition table."""
    small = tmp_path / "small"
    small.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", small])
    try:
        with reader(small / "card") as device:
            flushed = _flushed(device)
            with pytest.raises(CardError) as failed:
                flash(plan, Wanted(node="x-1", device=device), options(built, device))
            assert _flushed(device) > flushed
        head = (small / "card").read_bytes()[:PIECE]
    finally:
        run(["umount", small])
    assert "cannot be written to at " in str(failed.value)
    assert "take another one" in str(failed.value)
    row = cards(built / "vault")[-1]
    assert (row.node, row.failed) == ("x-1", failed.value.what)
    assert head == bytes(PIECE)


def _flushed(device: str) -> int:
    """Return how often the device was told to keep what its own cache has: Documentation/block/stat.rst."""
    return int(Path(f"/sys/block/{Path(device).name}/stat").read_text().split()[15])


def test_card_that_is_taken_out_is_not_called_bad(built: Path, plan: Plan, tmp_path: Path) -> None:
    """A reader that has become empty is told as that, with what to do; the ledger keeps out of it."""
    before = cards(built / "vault")
    with reader(tmp_path / "card") as device:

        def take_out() -> None:
            os.truncate(tmp_path / "card", 0)
            run(["losetup", "--set-capacity", device])

        told = options(built, device, progress=Watch("writing", 5, take_out))
        with pytest.raises(CardError) as failed:
            flash(plan, Wanted(node="x-1", device=device), told)
    assert "is gone: the card was taken out, or its reader, after " in str(failed.value)
    assert "put it back and flash it again" in str(failed.value)
    assert before == cards(built / "vault")


def test_card_that_forgets_is_found_out(built: Path, plan: Plan, tmp_path: Path) -> None:
    """What reads back as something else than was written is told with its place, past the cache."""
    with reader(tmp_path / "card") as device:

        def forget() -> None:
            with (tmp_path / "card").open("r+b") as file:
                file.seek(4 * PIECE + 77)
                file.write(b"\x55")

        told = options(built, device, progress=Watch("reading", 1, forget))
        with pytest.raises(CardError, match="what was written at 4 MiB reads back as something else"):
            flash(plan, Wanted(node="x-1", device=device), told)
    assert cards(built / "vault")[-1].failed
    assert (tmp_path / "card").read_bytes()[:PIECE] == bytes(PIECE)


def test_image_that_was_changed_is_refused(built: Path, plan: Plan, card: str, tmp_path: Path) -> None:
    """An image whose digest is not the manifest's is not written."""
    copied = tmp_path / "built"
    run(["cp", "--recursive", "--sparse=always", built, copied])
    with (copied / "out/x-1/x-1.img").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    with pytest.raises(SafetyError, match=r"x-1\.img is not what the manifest says it is"):
        flash(plan, Wanted(node="x-1", device=card), options(copied, card))
    assert not (tmp_path / "card").read_bytes().strip(b"\0")


def test_another_nodes_card_is_refused(built: Path, plan: Plan, card: str) -> None:
    """A card with another node's ids needs --replace, its own node's does not."""
    for name in ("x-1", "x-1"):
        flash(plan, Wanted(node=name, device=card), options(built, card))
    with pytest.raises(SafetyError, match=r"this is the card of x-1, not of x-2; .* add --replace"):
        flash(plan, Wanted(node="x-2", device=card), options(built, card))
    allowed = Permission(known=serial(card), replace=True)
    flash(plan, Wanted(node="x-2", device=card), options(built, card, allowed=allowed))
    with pytest.raises(SafetyError, match="this is the card of x-2, not of x-1"):
        flash(plan, Wanted(node="x-1", device=card), options(built, card))


def test_another_nodes_overlay_is_refused(built: Path, plan: Plan, tmp_path: Path) -> None:
    """A card that was prepared by hand is told by the overlay on it."""
    path, overlay = tmp_path / "card", tmp_path / "x-3.apkovl.tar.gz"
    overlay.write_bytes(b"packed")
    with path.open("wb") as file:
        file.truncate(SIZE)
    run(["sfdisk", "--quiet", path], stdin=b"start=8192, size=300000, type=c\n")
    run(["mkfs.vfat", "-F", "32", "--offset=8192", path, "150000"])
    run(["mcopy", "-i", f"{path}@@{8192 * 512}", overlay, "::"], env={"MTOOLS_SKIP_CHECK": "1"})
    with reader(path) as device, pytest.raises(SafetyError, match="this is the card of x-3, not of x-1"):
        flash(plan, Wanted(node="x-1", device=device), options(built, device))


def test_device_in_use_elsewhere_is_refused(built: Path, plan: Plan, card: str) -> None:
    """A file system that is mounted where we cannot see it, in another namespace, keeps the card safe."""
    run(["mke2fs", "-q", card])
    before = run(["sha256sum", card])
    script = f"mount -o ro {card} /mnt && echo mounted && read -r end"
    unshare = [find("unshare", package="util-linux"), "--mount", "sh", "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(unshare, stdin=pipe, stdout=pipe) as holder:  # noqa: S603 - one that stays; run() waits
        assert holder.stdout
        assert holder.stdout.readline() == b"mounted\n"
        with pytest.raises(SafetyError, match=r"is in use, perhaps by another program or in a container"):
            flash(plan, Wanted(node="x-1", device=card), options(built, card))
        holder.communicate(b"end\n")
    assert before == run(["sha256sum", card])


def test_the_name_has_to_be_typed(built: Path, plan: Plan, card: str, tmp_path: Path) -> None:
    """The user sees what is on the card and types its name; anything else writes nothing."""
    run(["mkfs.vfat", "-n", "HOLIDAYS", card])
    shown: list[str] = []

    def answer(text: str) -> str:
        shown.append(text)
        return "yes"

    before = (tmp_path / "card").read_bytes()
    with pytest.raises(SafetyError, match=r"yes is not loop.*: nothing was written"):
        flash(plan, Wanted(node="x-1", device=card), options(built, card, yes=False, ask=answer))
    assert "vfat  HOLIDAYS" in shown[0]
    assert "all of it is lost when x-1 is written to it" in shown[0]
    with pytest.raises(SafetyError, match="nobody is here to confirm that"):
        flash(plan, Wanted(node="x-1", device=card), options(built, card, yes=False))
    assert before == (tmp_path / "card").read_bytes()
    flash(
        plan, Wanted(node="x-1", device=card), options(built, card, yes=False, ask=lambda _: Path(card).name)
    )
    assert before != (tmp_path / "card").read_bytes()


def test_card_that_is_changed_while_the_user_looks_is_refused(
    built: Path, plan: Plan, card: str, tmp_path: Path
) -> None:
    """What is typed counts for what was shown: another card at the same name is not written to."""

    def swap(text: str) -> str:  # of another size; the device stays ours, which another test might take
        os.truncate(tmp_path / "card", 2 * SIZE)
        run(["losetup", "--set-capacity", card])
        return text.rpartition("type ")[2].split()[0]

    with pytest.raises(SafetyError, match="is another device or card than a moment ago: nothing was written"):
        flash(plan, Wanted(node="x-1", device=card), options(built, card, yes=False, ask=swap))
    assert not (tmp_path / "card").read_bytes().strip(b"\0")


def test_card_that_is_mounted_while_the_user_looks_is_refused(
    built: Path, plan: Plan, card: str, tmp_path: Path
) -> None:
    """A desktop that mounts what was put in is told as that; the card is the same, and keeps what it has."""
    run(["mke2fs", "-q", card])
    place = tmp_path / "media"
    place.mkdir()

    def mount(text: str) -> str:
        run(["mount", card, place])
        (place / "kept").touch()
        return text.rpartition("type ")[2].split()[0]

    try:
        with pytest.raises(SafetyError, match=rf"is mounted on {place}; umount {place}"):
            flash(plan, Wanted(node="x-1", device=card), options(built, card, yes=False, ask=mount))
    finally:
        run(["umount", place])
    run(["e2fsck", "-fn", card])
    assert "kept" in run(["debugfs", "-R", "ls", card]).decode()


def test_all_asks_for_one_card_after_another(built: Path, plan: Plan, tmp_path: Path) -> None:
    """Every node's card is asked for in turn; the wrong card again is told, and asked for again."""
    order = iter(["1", "1", "2", "3", "4"])
    asked: list[str] = []
    with reader(tmp_path / "card") as device:

        def answer(text: str) -> str:
            asked.append(text)
            if text.endswith("press Enter: "):  # another card, but for the second time, when it is forgotten
                _change(tmp_path / "card", next(order))
                return ""
            return Path(device).name

        watch = Watch()
        told = options(built, device, yes=False, ask=answer, progress=watch)
        flash(plan, Wanted(every=True, device=device), told)
    assert [text.partition(",")[0] for text in asked if "put its card in" in text] == [
        *("x-1", "x-2", "x-2", "x-3", "y-1")
    ]
    assert any("this is the card of x-1, not of x-2" in line for line in watch.told)
    with pytest.raises(UsageError, match="--all asks for cards, and needs a terminal"):
        flash(plan, Wanted(every=True), options(built, device))


def _change(path: Path, to: str) -> None:
    """Put another card into the reader that has `path` open: the same file with another content."""
    now, there = path.with_name("now"), path.with_name(f"card-{to}")
    if now.exists():
        run(["cp", "--sparse=always", path, path.with_name(f"card-{now.read_text()}")])
    now.write_text(to)
    os.truncate(path, 0)
    os.truncate(path, SIZE)
    if there.exists():
        run(["dd", f"if={there}", f"of={path}", "bs=1M", "conv=sparse,notrunc"])


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--node=x-1", "--device=/dev/null"], 4, "/dev/null is not a block device"),
        (["--node=x-1", "--device=/dev/null", "--yes"], 4, "/dev/null is not a block device"),
        (["--node=x-1", "--files=/dev"], 4, "/dev has no Alpine release on it"),
        (["--all"], 2, "--all asks for cards, and needs a terminal"),
        (["--node=x-1"], 2, "no card is named"),
    ],
)
def test_command_ends_with_its_exit_code(built: Path, arguments: list[str], code: int, told: str) -> None:
    """Through ./invoke itself, without a terminal."""
    where = [f"--profile={built / 'edge.yaml'}", f"--out={built / 'out'}", f"--vault={built / 'vault'}"]
    done = invoke("flash", *where, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(told)


def test_command_writes_a_card(built: Path, card: str, tmp_path: Path) -> None:
    """The whole way: flags, refusals, writing, reading back."""
    where = [f"--profile={built / 'edge.yaml'}", f"--out={built / 'out'}", f"--vault={built / 'vault'}"]
    done = invoke("flash", *where, "--node=x-1", f"--device={card}", "--yes")
    assert (done.returncode, done.stderr.count("add --i-know")) == (4, 1)
    done = invoke("flash", *where, "--node=x-1", f"--device={card}", "--yes", f"--i-know={serial(card)}")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(f"{card} is x-1's card: written, and read back as it was written\n")
    assert "x-1.apkovl.tar.gz" in read_back(tmp_path / "card")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(node="x-1"), "add one of --device, --files"),
        (Wanted(node="x-1", device="/dev/x", files="/x"), "add one of --device, --files"),
        (Wanted(node="z-9", device="/dev/x"), "has no node z-9\n  its nodes are x-1, x-2, x-3, y-1"),
        (Wanted(device="/dev/x"), "no node is named"),
        (Wanted(every=True, node="x-1"), "--all is every node's whole card"),
    ],
)
def test_senseless_wishes_are_told(built: Path, plan: Plan, wanted: Wanted, told: str) -> None:
    """What contradicts itself or names nothing is the user's error, told before anything is looked at."""
    with pytest.raises(UsageError) as failed:
        flash(plan, wanted, options(built, "/dev/x"))
    assert told in str(failed.value)


def test_build_without_images_is_told(built: Path, plan: Plan, card: str, tmp_path: Path) -> None:
    """The message says which command makes what is missing."""
    with pytest.raises(UsageError, match="has no build"):
        flash(plan, Wanted(node="x-1", device=card), options(built, card, out=tmp_path))
    (tmp_path / "manifest.json").write_text(
        (built / "out/manifest.json").read_text().replace("x-1/x-1.img", "x-1/other")
    )
    with pytest.raises(UsageError, match=r"has no x-1\.img\n  make it first: \./invoke image"):
        flash(plan, Wanted(node="x-1", device=card), options(built, card, out=tmp_path))
