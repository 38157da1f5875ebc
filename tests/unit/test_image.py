"""Whole images for cards: made without root, read back with the tools of others."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from nodebake import command, pipeline
from nodebake.errors import InputError, UsageError
from nodebake.manifest import Manifest
from nodebake.progress import Silent
from tests.need import need
from tests.unit.inputs import ARCH, options, profile
from tests.unit.release import FILES, MADE, release

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
NAME = "alpine-rpi-3.20.3-aarch64.tar.gz"


def pi(directory: Path) -> Path:
    """Write a profile of Raspberry Pis and a release into `directory`."""
    path = directory / "edge.yaml"
    profile(directory, "alpine", "[apkovl]")
    path.write_text(path.read_text().replace(f"board: vm, arch: {ARCH}", "board: rpi3"))
    return release(directory / NAME)


def image(directory: Path, **changes: object) -> Manifest:
    """Write the images of the profile that lies in `directory`."""
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    told = options(directory, arch="aarch64", **{"base": directory / NAME, **changes})
    return pipeline.image(plan, options=told, progress=Silent(), ask=None)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a profile, a release and the images made of them, to look at only."""
    need("mcopy", package="mtools")
    need("mkfs.vfat", package="dosfstools")
    directory = tmp_path_factory.mktemp("first")
    pi(directory)
    image(directory)
    return directory


def partition(place: Path, number: int) -> Path:
    """Copy a partition of x-1's image out of it, where the partition table says that it is."""
    path = place / "out/x-1/x-1.img"
    table = json.loads(command.run([need("sfdisk", package="fdisk"), "--json", path]))["partitiontable"]
    found = table["partitions"][number - 1]
    to = place / f"p{number}"
    with path.open("rb") as file:
        file.seek(found["start"] * 512)
        to.write_bytes(file.read(found["size"] * 512))
    return to


def test_the_partition_table_is_what_firmware_wants(first: Path) -> None:
    """To sfdisk it is an MBR: FAT32 (0x0c) first and active, then Linux to the end; both on 4 MiB."""
    path = first / "out/x-1/x-1.img"
    sfdisk = need("sfdisk", package="fdisk")
    table = json.loads(command.run([sfdisk, "--json", path]))["partitiontable"]
    boot, data = table["partitions"]
    assert (table["label"], boot["type"], boot["bootable"], data["type"]) == ("dos", "c", True, "83")
    assert [(one["start"] * 512) % (4 * MIB) for one in (boot, data)] == [0, 0]
    assert (data["start"] + data["size"]) * 512 == path.stat().st_size
    assert b"No errors detected" in command.run([sfdisk, "--verify", path])


def test_the_boot_partition_is_a_sound_fat32(first: Path) -> None:
    """fsck.fat finds nothing to say and 4 KiB clusters enough for a FAT32; blkid finds the label."""
    part = partition(first, 1)
    told = command.run([need("fsck.fat", package="dosfstools"), "-nv", part]).decode()
    assert "32 bit entries" in told
    assert "4096 bytes per cluster" in told
    probed = command.run([need("blkid", package="util-linux"), "-p", "-o", "export", part]).decode()
    assert {"TYPE=vfat", "VERSION=FAT32", "LABEL=PIBOOT"} <= set(probed.split())


def test_the_boot_partition_has_the_release_and_the_node(first: Path) -> None:
    """All of the release is read back, hidden files too, with the node's files in their places."""
    need("mcopy", package="mtools")
    to = first / "read"
    to.mkdir()
    command.run(["mcopy", "-s", "-m", "-n", "-i", partition(first, 1), "::", to], env={"TZ": "UTC"})
    found = {path.relative_to(to).as_posix(): path.read_bytes() for path in to.rglob("*") if path.is_file()}
    node = first / "out/x-1"
    own = {
        "cmdline.txt": (node / "boot/cmdline.txt").read_bytes(),
        "usercfg.txt": (node / "boot/usercfg.txt").read_bytes(),
        "x-1.apkovl.tar.gz": (node / "x-1.apkovl.tar.gz").read_bytes(),
    }
    assert found == {**FILES, **own}
    assert found["cmdline.txt"].count(b"\n") == 1
    assert (to / "boot/vmlinuz-rpi").stat().st_mtime == MADE


def test_the_data_partition_is_a_sound_empty_ext4(first: Path) -> None:
    """E2fsck finds nothing to say; the file system is DATA, empty, and was never mounted."""
    part = partition(first, 2)
    command.run([need("e2fsck", package="e2fsprogs"), "-fn", part])
    told = command.run([need("dumpe2fs", package="e2fsprogs"), "-h", part]).decode()
    facts = {line.partition(":")[0]: line.partition(":")[2].strip() for line in told.splitlines()}
    assert (facts["Filesystem volume name"], facts["Last mount time"]) == ("DATA", "n/a")
    assert (
        command.run(["debugfs", "-R", "ls -p /", part]).count(b"\n") == 3 + 1
    )  # . .. lost+found, an empty line


def test_two_images_of_the_same_are_the_same(first: Path, tmp_path: Path) -> None:
    """From the same vault and release, in another place and with an empty cache: byte for byte."""
    pi(tmp_path)
    again = image(tmp_path, vault=first / "vault")
    assert again == Manifest.from_json((first / "out/manifest.json").read_text())
    assert (tmp_path / "out/x-2/x-2.img").read_bytes() == (first / "out/x-2/x-2.img").read_bytes()


def test_no_two_cards_have_an_id_in_common(first: Path) -> None:
    """Disk, FAT and ext4 ids are each node's own."""
    heads = [(first / f"out/{name}/{name}.img").read_bytes() for name in ("x-1", "x-2", "x-3", "y-1")]
    fat, ext4 = 4 * MIB, (4 + 272) * MIB
    for place, size in ((440, 4), (fat + 67, 4), (ext4 + 1024 + 0x68, 16)):
        assert len({head[place : place + size] for head in heads}) == 4


def test_images_are_in_the_manifest_and_the_sums(first: Path) -> None:
    """With size and digest, and with the release among the inputs."""
    manifest = Manifest.from_json((first / "out/manifest.json").read_text())
    path = first / "out/x-3/x-3.img"
    (item,) = [item for item in manifest.nodes["x-3"] if item.kind == "image"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (item.path, item.size, item.sha256) == ("x-3/x-3.img", path.stat().st_size, digest)
    (used,) = [used for used in manifest.inputs if used.name == "alpine-rpi"]
    assert (used.version, used.source) == ("3.20.3", NAME)
    command.run([need("sha256sum", package="coreutils"), "--check", "SHA256SUMS"], cwd=first / "out")


def test_without_a_release_the_overlays_are_there_all_the_same(tmp_path: Path) -> None:
    """The error says what was built, and the three ways to supply the release; what was built is whole."""
    pi(tmp_path)
    with pytest.raises(
        InputError, match=r"no images were written: (.|\n)*4 nodes.*(.|\n)*--base(.|\n)*--mirror(.|\n)*cache"
    ):
        image(tmp_path, base=None)
    manifest = Manifest.from_json((tmp_path / "out/manifest.json").read_text())
    assert {item.kind for item in manifest.nodes["x-1"]} == {"apkovl", "boot"}


def test_a_release_that_climbs_out_is_refused(tmp_path: Path) -> None:
    """So is one with links, and what is no release at all."""
    pi(tmp_path)
    link = tarfile.TarInfo("etc")
    link.type, link.linkname = tarfile.SYMTYPE, "boot"
    for bad, told in (
        (release(tmp_path / "a.tar.gz", {"../x": b""}), "climbs out"),
        (release(tmp_path / "b.tar.gz", FILES, link), "neither file nor directory: etc"),
        (release(tmp_path / "c.tar.gz", {"Config.txt": b"", "config.txt": b""}), "one name"),
        (release(tmp_path / "d.tar.gz", {"etc/hosts": b""}), "is not Alpine's release"),
    ):
        with pytest.raises(InputError, match=told):
            image(tmp_path, base=bad)


def test_a_base_that_is_not_there_is_the_users_error(tmp_path: Path) -> None:
    """And is named."""
    pi(tmp_path)
    with pytest.raises(UsageError, match=r"--base .*/nowhere.tar.gz: No such file"):
        image(tmp_path, base=tmp_path / "nowhere.tar.gz")
