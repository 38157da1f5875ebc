"""What overlays are written for: the stand-in release keeps to what mkinitfs documents."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nodebake import command
from nodebake.bases import alpine
from nodebake.formats.card import fat
from nodebake.lab.accelerator import probe
from nodebake.lab.bootfs import boot_files
from nodebake.lab.hardware import Drive, Hardware, argv
from nodebake.progress import Silent
from tests.lab.clusters import need_lab
from tests.lab.standin.release import release
from tests.need import CACHE, need, need_root

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

_ENOUGH = 300  # seconds; an emulated machine takes twenty
# Says on the console what became of an overlay, as a service of its own.
_TELL = """\
#!/sbin/openrc-run
depend() {
    after mdev
}
start() {
    {
        echo "told: owner $(stat -c %u:%g /etc/owned-by-name) $(stat -c %u:%g /etc/owned-by-number)"
        echo "told: root $(stat -c %a /)"
        echo "told: runlevels $(cd /etc/runlevels && ls -d */* | tr '\\n' ' ')"
        echo "told: motd $(cat /etc/motd)"
        echo "told: missing $(apk info -e not-on-the-medium e2fsprogs | tr '\\n' ' ')"
        echo "told: repositories $(cat /etc/apk/repositories)"
        echo "told: which $(cat /etc/which)"
        echo "told: null $(stat -c %a /dev/null)"
        echo "told: done"
    } >/dev/console
}
"""


@pytest.fixture(scope="module")
def medium() -> Path:
    """Return the stand-in for x86_64."""
    need_lab(**{"qemu-system-x86_64": "qemu-system-x86"})
    return release("x86_64", "virt")


def overlay(which: str) -> bytes:
    """Return an overlay as careless tools make one: with names of users, and a world with an unknown name."""
    to = io.BytesIO()
    with tarfile.open(fileobj=to, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:

        def add(path: str, content: str, mode: int = 0o644, *, uid: int = 0, uname: str = "root") -> None:
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.uid, info.gid = len(content.encode()), mode, uid, uid
            info.uname = info.gname = uname
            tar.addfile(info, io.BytesIO(content.encode()))

        add("etc/apk/world", "alpine-base\nnot-on-the-medium\ne2fsprogs\n")
        add("etc/init.d/tell", _TELL, 0o755)
        add("etc/motd", "the overlay's own\n")
        add("etc/owned-by-name", "", uid=1001, uname="lp")
        add("etc/owned-by-number", "", uid=1001, uname="nobody-knows")
        add("etc/which", which)
        for service in ("mdev", "tell"):
            link = tarfile.TarInfo(f"etc/runlevels/sysinit/{service}")
            link.type, link.linkname = tarfile.SYMTYPE, f"/etc/init.d/{service}"
            tar.addfile(link)
    return to.getvalue()


def console(medium: Path, work: Path, files: dict[str, bytes], *more: Path, until: str) -> list[str]:
    """Return what a machine says that boots from `medium` with `files` beside it, up to the line `until`.

    Args:
        medium: the release.
        work: a directory for disks.
        files: for the FAT partition, by name.
        more: further disks.
        until: what ends it.
    """
    flavour = replace(alpine.VIRT, bios=False)
    base = alpine.card(
        flavour, medium, medium.stem.rpartition("-")[2], own=0, cache=CACHE / "lab/bases", progress=Silent()
    )
    disk = work / "disk.img"
    command.run(["cp", "--sparse=always", base.boot.image, disk])
    place(disk, work, files)
    boot = boot_files(disk)
    for name in ("vmlinuz", "initramfs"):
        (work / name).write_bytes(boot.read(f"boot/{name}-virt"))
    hardware = Hardware(
        kind="q35",
        memory=512 << 20,
        kernel=work / "vmlinuz",
        initrd=work / "initramfs",
        append="modules=loop,squashfs console=ttyS0 panic=-1 quiet mitigations=off",
        drives=tuple(Drive(path=path, role="system") for path in (disk, *more)),
    )
    words = argv(
        hardware, accelerator=probe("x86_64", work=work), tap="none", number=1, control=work / "control"
    )
    alone = ["user,id=net,restrict=on" if word.startswith("tap,") else word for word in words]
    return spoken(command.start(alone), until)


def place(disk: Path, work: Path, files: dict[str, bytes]) -> None:
    """Put files onto a FAT file system."""
    for name, content in files.items():
        (work / name).write_bytes(content)
    fat.fill(disk, {name: work / name for name in files}, epoch=fat.OLDEST)


def spoken(process: subprocess.Popen[bytes], until: str) -> list[str]:
    """Return what a process writes, up to the line with `until` in it."""
    lines = []
    with process:
        assert process.stdout
        for line in process.stdout:
            lines.append(line.decode(errors="replace").strip())
            if until in lines[-1]:
                break
        process.kill()
    return lines


def told(lines: list[str], what: str) -> list[str]:
    """Return the words after `told: <what>`."""
    return next(line.partition(f"told: {what}")[2].split() for line in lines if f"told: {what}" in line)


@pytest.mark.timeout(_ENOUGH)
def test_an_overlay_is_taken_as_mkinitfs_documents(medium: Path, tmp_path: Path) -> None:
    """First hit wins, names beat numbers, only its runlevels and a clock; unknown packages are dropped."""
    second = tmp_path / "second.img"
    fat.make(second, fat.SMALLEST, label="OTHER")
    place(second, tmp_path, {"b.apkovl.tar.gz": overlay("second disk")})
    files = {"a.apkovl.tar.gz": overlay("first disk")}
    lines = console(medium, tmp_path, files, second, until="told: done")
    assert {
        "which": ["first", "disk"],
        "owner": ["4:7", "1001:1001"],
        "root": ["755"],
        "runlevels": ["boot/hwclock", "sysinit/mdev", "sysinit/tell"],
        "motd": ["the", "overlay's", "own"],
        "missing": ["e2fsprogs"],
        "repositories": ["/media/vda/apks"],
        "null": ["666"],
    } == {
        what: told(lines, what)
        for what in ("which", "owner", "root", "runlevels", "motd", "missing", "repositories", "null")
    }


@pytest.mark.timeout(_ENOUGH)
def test_what_lies_beside_an_overlay_is_taken_for_one(medium: Path, tmp_path: Path) -> None:
    """A checksum file whose name matches is found first; its suffix is no cipher, and that is the end."""
    files = {"a.apkovl.tar.gz.sha256": b"0123", "b.apkovl.tar.gz": overlay("never")}
    lines = console(medium, tmp_path, files, until="Kernel panic")
    assert (True, False) == (
        any("Cipher sha256 is not supported" in line for line in lines),
        any("told:" in line for line in lines),
    )


@pytest.mark.timeout(_ENOUGH)
def test_without_an_overlay_the_default_services_start(medium: Path, tmp_path: Path) -> None:
    """The medium by itself comes up to OpenRC, and nothing of the network is started."""
    lines = console(medium, tmp_path, {}, until="Starting syslog")
    started = [any(text in line for line in lines) for text in ("Mounting modloop", "Starting networking")]
    assert [True, False] == started


def test_alpines_own_apk_installs_from_the_repository(tmp_path: Path) -> None:
    """It trusts the index by the key in the initramfs, and finds every dependency."""
    need_root()
    busybox = need("busybox", package="busybox-static")
    with tarfile.open(release("x86_64", "virt")) as tar:
        tar.extractall(tmp_path / "medium", filter="data")
    system = tmp_path / "system"
    system.mkdir()
    packed = (tmp_path / "medium/boot/initramfs-virt").read_bytes()
    command.run([busybox, "cpio", "-idm"], stdin=gzip.decompress(packed), cwd=system)
    (tmp_path / "medium").rename(system / "medium")
    (system / "root/etc/apk").mkdir(parents=True)
    command.run(["cp", "-a", system / "etc/apk/keys", system / "root/etc/apk"])
    words = ("--root", "/root", "--initdb", "--no-network", "--no-scripts", "--repository", "/medium/apks")
    command.run(["chroot", system, "/sbin/apk", *words, "add", "alpine-base", "e2fsprogs", "iptables"])
    assert (system / "root/sbin/supervise-daemon").exists()
    assert b"(nf_tables)" in command.run(["chroot", system / "root", "iptables", "--version"])
