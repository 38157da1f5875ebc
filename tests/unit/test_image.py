"""Whole images: made without root, read back with the tools of others."""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import re
import shutil
import stat
import struct
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from nodebake import command, pipeline, publish, stamp
from nodebake.errors import BuildError, InputError, UsageError
from nodebake.formats.card import ext4
from nodebake.manifest import Manifest
from nodebake.progress import Silent
from tests.need import need, need_root
from tests.unit import inputs, release
from tests.unit.test_pipeline import contents

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1 << 20
FAT = 4 * MIB
ROOT = "root.tar"
RPI, VIRT = "alpine-rpi-3.20.3-aarch64.tar.gz", "alpine-virt-3.20.3-x86_64.iso"


def profile(directory: Path, board: str = "rpi3", arch: str = "aarch64") -> Path:
    """Write a profile for Alpine into `directory`, and return its path."""
    path = Path(inputs.profile(directory, "alpine", "[apkovl]"))
    machine = path.read_text().replace(f"board: vm, arch: {inputs.HOST}", f"board: {board}, arch: {arch}")
    path.write_text(machine.replace("data: {}", "data: {size: 16MiB}"))
    return path


def image(directory: Path, base: str | None = RPI, arch: str = "aarch64", **changes: object) -> Manifest:
    """Write the images of the profile that lies in `directory`."""
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    told = inputs.options(directory, arch=arch, base=directory / base if base else None, **changes)
    return pipeline.image(plan, options=told, progress=Silent(), ask=None)


def build(directory: Path) -> Manifest:
    """Build the rest of the profile that lies in `directory`."""
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    told = inputs.options(directory, arch="aarch64")
    return pipeline.build(plan, options=told, progress=Silent(), ask=None)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a profile, a release and the images made of them, to look at only."""
    need("mcopy", package="mtools")
    need("mkfs.vfat", package="dosfstools")
    directory = tmp_path_factory.mktemp("first")
    profile(directory)
    release.tarball(directory / RPI, release.RPI)
    image(directory, zst=True, stamp=directory / "stamp.json")
    return directory


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a profile of VMs and their images, to look at only."""
    need("syslinux", package="syslinux")
    need("qemu-img", package="qemu-utils")
    directory = tmp_path_factory.mktemp("machine")
    profile(directory, "vm", "x86_64")
    release.iso(directory / VIRT, release.VIRT)
    image(directory, VIRT, "x86_64")
    return directory


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a profile of Pis under Debian, a root in small, and the images made of them."""
    directory = tmp_path_factory.mktemp("debian")
    path = Path(inputs.profile(directory, "debian", "[rootfs]"))
    path.write_text(path.read_text().replace(f"board: vm, arch: {inputs.HOST}", "board: rpi3"))
    release.root(directory / ROOT)
    image(directory, ROOT, zst=True)
    return directory


@pytest.fixture
def made(first: Path, tmp_path: Path) -> Path:
    """Return a directory with images to change."""
    command.run(["cp", "--archive", "--sparse=always", first, tmp_path / "made"])
    return tmp_path / "made"


def table(disk: Path) -> dict[str, Any]:
    """Return what sfdisk says of a disk."""
    sfdisk = need("sfdisk", package="fdisk")
    assert b"No errors detected" in command.run([sfdisk, "--verify", disk])
    return dict(json.loads(command.run([sfdisk, "--json", disk]))["partitiontable"])


def partition(disk: Path, number: int, to: Path) -> Path:
    """Copy a partition out of an image, from where the partition table says that it is."""
    found = table(disk)["partitions"][number - 1]
    with disk.open("rb") as file:
        file.seek(found["start"] * 512)
        (to / f"p{number}").write_bytes(file.read(found["size"] * 512))
    return to / f"p{number}"


def read_back(disk: Path, to: Path) -> Path:
    """Copy all that is on an image's boot partition with mtools, and return where to."""
    need("mcopy", package="mtools")
    (to / "read").mkdir()
    command.run(["mcopy", "-s", "-m", "-n", "-i", f"{disk}@@{FAT}", "::", to / "read"], env={"TZ": "UTC"})
    return to / "read"


def on_node(node: Path) -> dict[str, bytes]:
    """Return what a node's own files on its boot partition must be."""
    boot = contents(node / "boot")
    overlay = node / f"{node.name}.apkovl.tar.gz"
    return {**boot, overlay.name: overlay.read_bytes()}


def test_the_partition_table_is_what_firmware_wants(first: Path) -> None:
    """To sfdisk it is an MBR: FAT32 (0x0c) first and active, then Linux to the end; both on 4 MiB."""
    disk = first / "out/x-1/x-1.img"
    found = table(disk)
    boot, data = found["partitions"]
    assert (found["label"], boot["type"], boot["bootable"], data["type"]) == ("dos", "c", True, "83")
    assert [(one["start"] * 512) % (4 * MIB) for one in (boot, data)] == [0, 0]
    assert (data["start"] + data["size"]) * 512 == disk.stat().st_size


@pytest.mark.parametrize("kind", ["first", "machine"])
def test_the_boot_partition_is_a_sound_fat32(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Nothing is left to say for fsck.fat, of a boot loader neither; blkid finds the label."""
    part = partition(request.getfixturevalue(kind) / "out/x-1/x-1.img", 1, tmp_path)
    told = command.run([need("fsck.fat", package="dosfstools"), "-nv", part]).decode()
    assert "32 bit entries" in told
    assert "differences" not in told
    assert int(told.split(" data clusters")[0].rsplit(maxsplit=1)[-1]) > 65525
    probed = command.run([need("blkid", package="util-linux"), "-p", "-o", "export", part]).decode()
    assert {"TYPE=vfat", "VERSION=FAT32", "LABEL=PIBOOT"} <= set(probed.split())


def test_the_boot_partition_has_the_release_and_the_node(first: Path, tmp_path: Path) -> None:
    """All of the release is read back, hidden files too, with the node's files in their places."""
    read = read_back(first / "out/x-1/x-1.img", tmp_path)
    own = on_node(first / "out/x-1")
    programs = {f"nodebake/{path}" for path in ("programs", "usr/local/bin/etcd", "usr/local/bin/etcdctl")}
    assert set(own) == {"cmdline.txt", "usercfg.txt", "x-1.apkovl.tar.gz"} | programs
    assert {**release.RPI, **own} == contents(read)
    assert (read / "cmdline.txt").read_bytes().count(b"\n") == 1
    assert (read / "boot/vmlinuz-rpi").stat().st_mtime == release.MADE


def test_the_data_partition_is_a_sound_empty_ext4(first: Path, tmp_path: Path) -> None:
    """Nothing is left to say for e2fsck; the file system is DATA, empty, and was never mounted."""
    part = partition(first / "out/x-1/x-1.img", 2, tmp_path)
    command.run([need("e2fsck", package="e2fsprogs"), "-fn", part])
    told = command.run([need("dumpe2fs", package="e2fsprogs"), "-h", part]).decode()
    facts = {line.partition(":")[0]: line.partition(":")[2].strip() for line in told.splitlines()}
    assert (facts["Filesystem volume name"], facts["Last mount time"]) == ("DATA", "n/a")
    listed = command.run([need("debugfs", package="e2fsprogs"), "-R", "ls -p /", part]).decode()
    assert [line.split("/")[5] for line in listed.splitlines() if line] == [".", "..", "lost+found"]


def test_a_data_partition_has_nothing_that_only_later_mke2fs_write(tmp_path: Path) -> None:
    """A group with a copy of the superblock and nothing else needs no bitmap: none is there, nor counted."""
    image = tmp_path / "image"
    ext4.make(image, 1024 * MIB, label="DATA", epoch=1_700_000_000)
    command.run([need("e2fsck", package="e2fsprogs"), "-fn", image])
    debugfs = need("debugfs", package="e2fsprogs")
    groups = command.run([debugfs, "-R", "show_super_stats", image]).decode().split("\n Group ")[1:]
    copies = [groups[number] for number in (1, 3, 5)]  # powers of 3, 5 and 7; the last has a flag of its own
    assert all("Block not init" in group for group in copies)
    bitmaps = [int(group.partition("block bitmap at ")[2].partition(",")[0]) * 4096 for group in copies]
    written = [1024 + 0x178, 128 * MIB + 0x178]  # s_kbytes_written, and its copy
    with image.open("rb") as file:
        for at, size in [*((at, 4096) for at in bitmaps), *((at, 8) for at in written)]:
            file.seek(at)
            assert bytes(size) == file.read(size)


def test_an_ext4_gets_its_id_in_every_copy_of_the_superblock(tmp_path: Path) -> None:
    """Byte for byte what tune2fs makes of it."""
    ours, theirs, unique = tmp_path / "ours", tmp_path / "theirs", UUID(int=7)
    ext4.make(ours, 1024 * MIB, label="DATA", epoch=1_700_000_000)
    shutil.copy(ours, theirs)
    with ours.open("r+b") as file:
        ext4.identify(file.fileno(), unique, at=0)
    command.run([need("e2fsck", package="e2fsprogs"), "-fn", ours])
    argv: list[str | Path] = [need("tune2fs", package="e2fsprogs"), "-U", str(unique), theirs]
    command.run(argv, env=ext4.environment(1_700_000_000))
    assert filecmp.cmp(ours, theirs, shallow=False)


def test_a_large_ext4_has_its_id_in_every_copy(tmp_path: Path) -> None:
    """Wherever dumpe2fs knows of one: powers of 3, 5 and 7, up to the last group of 300 GiB."""
    disk, unique = tmp_path / "disk", UUID(int=7)
    mke2fs: list[str | Path] = [need("mke2fs", package="e2fsprogs"), "-q", "-F", "-t", "ext4", "-b", "4096"]
    lazy = "nodiscard,lazy_itable_init=1,lazy_journal_init=1"
    features = "metadata_csum,metadata_csum_seed,sparse_super,^sparse_super2"
    command.run([*mke2fs, "-O", features, "-E", lazy, disk, "300g"])
    with disk.open("r+b") as file:
        ext4.identify(file.fileno(), unique, at=0)
    dumpe2fs = need("dumpe2fs", package="e2fsprogs")
    copies = re.findall(r"Backup superblock at (\d+)", command.run([dumpe2fs, disk]).decode())
    assert [f"{group * 32768}" for group in (1, 3, 5, 7, 9, 25, 27, 49)] == copies[:8]
    for copy in ("0", *copies):
        told = command.run([dumpe2fs, "-h", "-o", "blocksize=4096", "-o", f"superblock={copy}", disk])
        assert str(unique) in told.decode()


def test_a_profile_says_how_large_the_data_partition_is(tmp_path: Path) -> None:
    """And without one on this disk there is none."""
    path = profile(tmp_path)
    release.tarball(tmp_path / RPI, release.RPI)
    text = path.read_text()
    for told, sizes in (("size: 64MiB", [64 * MIB]), ("device: /dev/sda1", []), ("place: own-disk", [])):
        path.write_text(text.replace("size: 16MiB", told))
        image(tmp_path, node="x-1")
        _, *data = table(tmp_path / "out/x-1/x-1.img")["partitions"]
        assert sizes == [one["size"] * 512 for one in data]


def test_two_images_of_the_same_are_the_same(first: Path, tmp_path: Path) -> None:
    """From the same vault and release, in another place, with an empty cache, alone: byte for byte."""
    profile(tmp_path)
    shutil.copy(first / RPI, tmp_path)
    again = image(tmp_path, vault=first / "vault", node="x-2", zst=True, jobs=1)
    before = Manifest.from_json((first / "out/manifest.json").read_text())
    assert (again.nodes["x-2"], again.inputs) == (before.nodes["x-2"], before.inputs)
    for name in ("x-2.img", "x-2.img.zst", "x-2.img.bmap"):
        assert (tmp_path / "out/x-2" / name).read_bytes() == (first / "out/x-2" / name).read_bytes()


def test_no_two_cards_have_an_id_in_common(first: Path) -> None:
    """Disk, FAT and ext4 ids are each node's own."""
    found = set[bytes]()
    for name in ("x-1", "x-2", "x-3", "y-1"):
        with (first / f"out/{name}/{name}.img").open("rb") as disk:
            record = disk.read(512)
            places = (440, 4), (FAT + 67, 4), (struct.unpack_from("<L", record, 470)[0] * 512 + 1128, 16)
            for place, size in places:
                disk.seek(place)
                found.add(disk.read(size))
    assert len(found) == 4 * 3


def test_images_are_in_the_manifest_and_the_sums(first: Path) -> None:
    """With size and digest, and with the release among the inputs."""
    manifest = Manifest.from_json((first / "out/manifest.json").read_text())
    path = first / "out/x-3/x-3.img"
    (item,) = [item for item in manifest.nodes["x-3"] if item.kind == "image"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (item.path, item.size, item.sha256) == ("x-3/x-3.img", path.stat().st_size, digest)
    (used,) = [used for used in manifest.inputs if used.name == "alpine-rpi"]
    assert (used.version, used.source) == ("3.20.3", RPI)
    command.run([need("sha256sum", package="coreutils"), "--check", "SHA256SUMS"], cwd=first / "out")


def test_bmaptool_writes_the_same_disk(first: Path, tmp_path: Path) -> None:
    """From the compressed image and its map, whose digests it checks."""
    node = first / "out/x-1"
    bmaptool = need("bmaptool", package="bmap-tools")
    command.run([bmaptool, "copy", "--bmap", node / "x-1.img.bmap", node / "x-1.img.zst", tmp_path / "disk"])
    assert (tmp_path / "disk").read_bytes() == (node / "x-1.img").read_bytes()


def test_a_disk_may_have_been_full_of_something_else(first: Path, tmp_path: Path) -> None:
    """With nothing but the mapped blocks written both file systems are sound, with all files."""
    node, disk = first / "out/x-1", tmp_path / "disk"
    content, written = (node / "x-1.img").read_bytes(), 0
    with disk.open("wb") as file:
        file.write(b"\xa5" * len(content))
        for span in re.findall(r'chksum="\w+"> ([\d-]+) <', (node / "x-1.img.bmap").read_text()):
            start, _, last = span.partition("-")
            file.seek(int(start) * 4096)
            written += file.write(content[int(start) * 4096 : (int(last or start) + 1) * 4096])
    assert written < len(content) / 10
    command.run([need("fsck.fat", package="dosfstools"), "-n", partition(disk, 1, tmp_path)])
    command.run([need("e2fsck", package="e2fsprogs"), "-fn", partition(disk, 2, tmp_path)])
    assert {**release.RPI, **on_node(node)} == contents(read_back(disk, tmp_path))
    # What is no hole in the image is what is mapped, but for a little that ext4 keeps in reserve or wipes.
    assert abs((node / "x-1.img").stat().st_blocks * 512 - written) < MIB / 4


def test_a_vm_starts_by_its_bios(machine: Path, tmp_path: Path) -> None:
    """The MBR and the active partition have syslinux's code; its configuration is the node's."""
    disk = machine / "out/x-1/x-1.img"
    with disk.open("rb") as file:
        code = file.read(440)
        file.seek(FAT)
        assert file.read(512)[3:11] == b"SYSLINUX"
    assert any(code == Path(name).read_bytes() for name in ("/usr/lib/SYSLINUX/mbr.bin",))
    found = contents(read_back(disk, tmp_path))
    assert {"boot/syslinux/ldlinux.sys", "boot/syslinux/ldlinux.c32"} <= set(found)
    for name, content in {**release.VIRT, **on_node(machine / "out/x-1")}.items():
        assert found[name] == content
    assert b"console=ttyS0" in found["boot/syslinux/syslinux.cfg"]


def test_a_vm_has_its_disk_in_qemus_own_form(machine: Path) -> None:
    """qemu-img finds a qcow2 with the same content, and nothing wrong with it."""
    node = machine / "out/x-1"
    qemu_img = need("qemu-img", package="qemu-utils")
    command.run([qemu_img, "check", "-f", "qcow2", node / "x-1.qcow2"])
    command.run([qemu_img, "compare", "-f", "raw", "-F", "qcow2", node / "x-1.img", node / "x-1.qcow2"])


def test_debian_has_a_root_between_boot_and_data(debian: Path, tmp_path: Path) -> None:
    """All three are sound; firmware and kernel are on the first, and not on the root again."""
    disk = debian / "out/x-1/x-1.img"
    assert ["c", "83", "83"] == [one["type"] for one in table(disk)["partitions"]]
    command.run([need("fsck.fat", package="dosfstools"), "-n", partition(disk, 1, tmp_path)])
    assert contents(read_back(disk, tmp_path)) == release.FIRMWARE
    labels = []
    for number in (2, 3):
        part = partition(disk, number, tmp_path)
        command.run([need("e2fsck", package="e2fsprogs"), "-fn", part])
        labels.append(command.run(["blkid", "-p", "-o", "value", "-s", "LABEL", part]).decode().strip())
    assert labels == ["ROOT", "DATA"]
    listed = command.run(["debugfs", "-R", "ls -p /boot/firmware", tmp_path / "p2"]).decode()
    assert [line.split("/")[5] for line in listed.splitlines() if line] == [".", ".."]


def test_debians_root_has_the_nodes_files_over_its_own(debian: Path, tmp_path: Path) -> None:
    """As tar would lay them: owners, modes, links; what was there before keeps its own; and /dev is there."""
    part = partition(debian / "out/x-1/x-1.img", 2, tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    need_root()  # to read owners back
    command.run([need("debugfs", package="e2fsprogs"), "-R", f"rdump / {root}", part])
    (root / "lost+found").rmdir()
    expected = tmp_path / "expected"
    expected.mkdir()
    command.run(["tar", "-C", expected, "-xpf", debian / ROOT])
    shutil.rmtree(expected / "boot/firmware")
    (expected / "boot/firmware").mkdir()
    (expected / "dev").mkdir(mode=0o755)
    archive = debian / "out/x-1/x-1.rootfs.tar.zst"
    command.run([need("zstd", package="zstd"), "-q", "-d", archive, "-o", tmp_path / "own.tar"])
    command.run(["tar", "-C", expected, "-xpf", tmp_path / "own.tar"])
    assert _facts(expected) == _facts(root)
    assert (root / "etc/hostname").read_text() == "x-1\n"
    assert b"Mode:  04755" in command.run(["debugfs", "-R", "stat /usr/bin/su", part])


def _facts(root: Path) -> dict[str, tuple[object, ...]]:
    found = dict[str, tuple[object, ...]]()
    for path in root.rglob("*"):
        seen = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        mode = 0 if path.is_symlink() else seen.st_mode & ~stat.S_ISUID  # which debugfs does not give
        found[path.relative_to(root).as_posix()] = (mode, seen.st_uid, seen.st_gid, content)
    return found


def test_two_debian_nodes_share_all_but_their_ids_and_files(debian: Path, tmp_path: Path) -> None:
    """The second image, from the cache alone, is the same wherever and whenever it is made."""
    for name in ("edge.yaml", ROOT):
        shutil.copy(debian / name, tmp_path)
    image(tmp_path, ROOT, vault=debian / "vault", node="x-2", zst=True)
    for name in ("x-2.img", "x-2.img.zst", "x-2.img.bmap"):
        assert (tmp_path / "out/x-2" / name).read_bytes() == (debian / "out/x-2" / name).read_bytes()
    ids = {
        command.run(["blkid", "-p", "-o", "value", "-s", "UUID", partition(disk, 2, tmp_path)])
        for disk in (debian / "out").glob("*/*.img")
    }
    assert len(ids) == 4


def test_a_root_that_is_none_is_refused(debian: Path, tmp_path: Path) -> None:
    """One without what raspi-firmware leaves for the firmware."""
    shutil.copy(debian / "edge.yaml", tmp_path)
    release.root(tmp_path / ROOT, firmware={})
    with pytest.raises(InputError, match=r"no root for a Raspberry Pi(.|\n)*all else was written for 4"):
        image(tmp_path, ROOT)


def test_a_second_run_has_nothing_to_do(first: Path) -> None:
    """The stamp covers images, and the release they were made of."""
    assert stamp.unchanged(first / "stamp.json", now=0) is not None


def test_images_stay_while_what_is_in_them_stays(made: Path) -> None:
    """A build without images keeps those that have the same overlay in them, and their input in the index."""
    before = Manifest.from_json((made / "out/manifest.json").read_text())
    assert before == build(made)
    assert (made / "out/x-1/x-1.img").exists()
    assert before == image(made)  # the compressed ones stay as well


def test_images_go_with_what_is_in_them(made: Path) -> None:
    """When an overlay changes, an image of the one before is not left lying about."""
    path = made / "edge.yaml"
    path.write_text(path.read_text().replace("192.168.7.1]", "192.168.7.2]"))
    manifest = build(made)
    assert {item.kind for item in manifest.artifacts} == {"apkovl", "boot", "operator", "sbom"}
    assert not list((made / "out").rglob("*.img*"))
    assert [used.name for used in manifest.inputs] == ["etcd"]


def test_another_release_replaces_all_that_was_made_of_the_first(made: Path) -> None:
    """Image and input; the compressed form of the old image goes when none is asked for."""
    release.tarball(made / "alpine-rpi-3.21.0-aarch64.tar.gz", {**release.RPI, "new": b""})
    manifest = image(made, "alpine-rpi-3.21.0-aarch64.tar.gz")
    assert [used.version for used in manifest.inputs] == ["3.5.16", "3.21.0"]
    assert {item.kind for item in manifest.nodes["x-1"]} == {"apkovl", "boot", "image", "sbom", "image-sbom"}
    assert not list((made / "out").rglob("*.zst"))


def test_without_a_release_the_overlays_are_there_all_the_same(tmp_path: Path) -> None:
    """The error says what was built, and the three ways to supply the release; what was built is whole."""
    profile(tmp_path)
    with pytest.raises(InputError) as caught:
        image(tmp_path, None)
    told = str(caught.value)
    for part in ("no images were written: alpine-rpi 3.22.1", "for 4 nodes", "--base", "--mirror", "cache"):
        assert part in told
    manifest = Manifest.from_json((tmp_path / "out/manifest.json").read_text())
    assert {item.kind for item in manifest.nodes["x-1"]} == {"apkovl", "boot", "sbom"}


def test_a_pinned_release_comes_from_the_mirror_and_then_from_the_cache(tmp_path: Path) -> None:
    """It is verified, and called by its upstream URL."""
    profile(tmp_path)
    path = release.tarball(tmp_path / "alpine-rpi-3.22.1-aarch64.tar.gz", release.RPI)
    pinned = hashlib.sha256(path.read_bytes()).hexdigest()
    told = inputs.options(tmp_path, arch="aarch64")
    told.lock.write_text(told.lock.read_text() + PIN.replace("SHA256", pinned))
    plan = pipeline.resolve(str(tmp_path / "edge.yaml"))
    for _ in range(2):
        manifest = pipeline.image(plan, options=told, progress=Silent(), ask=None)
        assert manifest.inputs[-1].source == "http://alpine.invalid/v3.22/alpine-rpi-3.22.1-aarch64.tar.gz"
        path.unlink(missing_ok=True)
    path.write_bytes(b"something else")
    shutil.rmtree(told.cache / "archives")
    with pytest.raises(InputError, match=r"sha256 does not match(.|\n)*for 4 nodes"):
        pipeline.image(plan, options=told, progress=Silent(), ask=None)


PIN = """
[alpine-rpi]
url = "http://alpine.invalid/v{series}/alpine-rpi-{version}-{arch}.tar.gz"
members = ""
files = []
arches = {aarch64 = "aarch64"}
releases."3.22.1" = {sha256.aarch64 = "SHA256", confidence = "C", confirmed = false}
"""


def _link(name: str, target: str) -> tarfile.TarInfo:
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, target
    return link


@pytest.mark.parametrize(
    ("files", "link", "told"),
    [
        ({"../x": b""}, None, "climbs out"),
        (release.RPI, _link("etc", "boot"), "neither file nor directory: etc"),
        ({"Config.txt": b"", "config.txt": b""}, None, "Config.txt and config.txt, one name"),
        ({"etc/hosts": b""}, None, "it has no .alpine-release, "),
    ],
)
def test_a_wrong_release_is_refused(
    files: Mapping[str, bytes], link: tarfile.TarInfo | None, told: str, tmp_path: Path
) -> None:
    """It climbs out, has links, has two names that are one on a FAT, or is none at all."""
    profile(tmp_path)
    release.tarball(tmp_path / RPI, files, *([link] if link else []))
    with pytest.raises(InputError, match=told):
        image(tmp_path, node="x-1")
    assert not list((tmp_path / "cache/bases").iterdir())


def test_a_wrong_cd_is_refused(tmp_path: Path) -> None:
    """It has links, or is none at all."""
    need("syslinux", package="syslinux")
    profile(tmp_path, "vm", "x86_64")
    release.iso(tmp_path / VIRT, release.VIRT, {"boot/link": "vmlinuz-virt"})
    with pytest.raises(InputError, match="neither file nor directory: /boot/link"):
        image(tmp_path, VIRT, "x86_64", node="x-1")
    (tmp_path / VIRT).write_bytes(b"no image" * 10_000)
    with pytest.raises(InputError, match="cannot be unpacked"):
        image(tmp_path, VIRT, "x86_64", node="x-1")


def test_what_cannot_have_an_image_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Debian, ARM VMs, a profile without overlays, and a base that is not there."""
    path = profile(tmp_path)
    good = path.read_text()
    for old, new, told in (
        ("os: alpine, board: rpi3, arch: aarch64", "os: debian, board: vm", "no images of debian on vm"),
        ("board: rpi3, arch: aarch64", "board: vm, arch: aarch64", r"alpine on vm \(aarch64\)"),
        ("[apkovl]", "[rootfs]", "add apkovl to outputs"),
        ("", "", r"--base .*/alpine-rpi.* is not a file"),
    ):
        text = good.replace(old, new)
        path.write_text(text.replace("[apkovl]", "[rootfs]") if "debian" in text else text)
        with pytest.raises(UsageError, match=told):
            image(tmp_path)
    assert not (tmp_path / "out").exists()


def test_an_image_that_cannot_be_written_leaves_the_one_before(made: Path) -> None:
    """A tool that fails half-way: the old image is whole, and nothing half-made lies beside it."""
    before = (made / "out/x-1/x-1.img").read_bytes()
    shutil.rmtree(made / "cache/bases")
    release.tarball(made / RPI, {**release.RPI, "boot/extra": b"x"})
    (made / "out/x-1/x-1.apkovl.tar.gz").chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "PATH", str(_broken(made)))
        with pytest.raises(BuildError, match="no space left"):
            image(made, node="x-1")
    assert (made / "out/x-1/x-1.img").read_bytes() == before
    assert not list((made / "out").rglob(".part*"))


def _broken(directory: Path) -> Path:
    """Return a directory with all tools; mcopy says that the disk is full when it comes to an image."""
    tools = directory / "tools"
    tools.mkdir()
    for name in ("mkfs.vfat", "mmd", "mke2fs", "debugfs", "dumpe2fs", "e2image"):
        (tools / name).symlink_to(str(shutil.which(name, path=command.PATH)))
    real = shutil.which("mcopy", path=command.PATH)
    full = "case $* in *.part-*) echo 'no space left' >&2; exit 1 ;; esac"
    (tools / "mcopy").write_text(f'#!/bin/sh\n{full}\nexec {real} "$@"\n')
    (tools / "mcopy").chmod(0o755)
    return tools


@pytest.mark.parametrize("kind", ["first", "machine", "debian"])
def test_what_is_shared_of_an_image_is_no_nodes_own(kind: str, request: pytest.FixtureRequest) -> None:
    """It may be published in plain: every byte of it is at the same place of another node's image as well."""
    out: Path = request.getfixturevalue(kind) / "out"
    manifest = Manifest.from_json((out / "manifest.json").read_text())
    items = [item for item in manifest.nodes["x-1"] if item.kind in {"image", "qcow2"}]
    assert len(items) == (2 if kind == "machine" else 1)
    for item in items:
        one, two = ((out / item.path.replace("x-1", name)).read_bytes() for name in ("x-1", "x-2"))
        assert sum(end - start for start, end in item.shared) > len(inputs.busybox())
        assert all(one[start:end] == two[start:end] for start, end in item.shared)


def test_a_published_image_costs_its_own_files(machine: Path, tmp_path: Path) -> None:
    """Of a second node's disk only what is its own is published, twice (as it is, and as qcow2)."""
    out = tmp_path / "out"
    shutil.copytree(machine / "out", out, copy_function=os.link)
    manifest = Manifest.from_json((out / "manifest.json").read_text())
    two = replace(manifest, nodes={name: manifest.nodes[name] for name in ("x-1", "x-2")})
    (out / "manifest.json").unlink()
    (out / "manifest.json").write_text(two.to_json())
    with publish.opened(f"file://{tmp_path}/published", "--to") as place:
        publish.publish(place, publish.Push(out=out, plaintext=True), Silent())
        publish.pull(place, publish.Pull(out=tmp_path / "got", builds=tmp_path, node="x-2"), Silent())
    own = [path.stat().st_size for path in (out / ".published").iterdir()]
    binaries = 2 * len(inputs.busybox())
    assert (len(own), max(own) < binaries / 4) == (2, True)
    for item in two.nodes["x-2"]:
        assert filecmp.cmp(tmp_path / "got" / item.path, out / item.path, shallow=False)
