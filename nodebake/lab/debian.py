"""Debian machines: a plain stable system with cloud-init, made once by mmdebstrap, and the node's seed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError, InputError
from nodebake.lab import further
from nodebake.lab.hardware import Drive, Hardware, copy_on_write
from nodebake.lab.initramfs import cpio, modules
from nodebake.lab.lean import settings
from nodebake.overlay import render
from nodebake.sources import made
from nodebake.tree import Entry, Tree, file, link, merge, write_tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress

SUITE = "trixie"
PACKAGES = (
    *("systemd-sysv", "cloud-init", "linux-image-cloud-amd64", "udev", "dbus", "kmod", "e2fsprogs"),
    *("iproute2", "systemd-timesyncd", "openssh-server", "ca-certificates"),
    *("login", "passwd", "sudo", "busybox-static", "iptables"),
)
_DISK = 4 << 30
_DISK_MODULES, _NETWORK_MODULES = ("virtio_blk",), ("virtio_net",)
# cloud-init writes for networkd where there is no netplan. Of the rest the artefacts start what they need.
_ENABLED, _DISABLED = ("systemd-networkd",), ("systemd-timesyncd",)
# TERM: systemd otherwise asks the console for its size and waits for an answer. Nothing to mitigate in TCG.
# Without random addresses QEMU need not translate the same library anew for every process; without security
# modules systemd need not load programs for them.
_APPEND = (
    "root=/dev/vda rw console=ttyS0 loglevel=6 panic=-1 systemd.show_status=1 "
    "systemd.condition_needs_update=0 TERM=dumb mitigations=off nokaslr norandmaps "
    "init_on_alloc=0 clearcpuid=rep_good lsm=capability audit=0 8250.nr_uarts=1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Debian:
    """A guest system that is ready to be copied.

    Attributes:
        disk: its root file system, raw ext4; never written to.
        kernel: its kernel.
        initrd: loads the disk's driver and mounts it.
        floor: a cpio archive with busybox and the network card's driver, see `floor`.
        version: what /etc/os-release says.
        kind: of the artefact that a machine boots.
    """

    disk: Path
    kernel: Path
    initrd: Path
    floor: Path
    version: str
    kind: str = "seed"

    def hardware(
        self, plan: Plan, node: NodePlan, *, artefacts: Path, work: Path, label: str = ""
    ) -> Hardware:
        """Return the machine that boots the node's seed, with disks of its own."""
        name = label or node.name
        seed = artefacts / node.name / f"{node.name}-seed.iso"
        drives = [
            Drive(path=copy_on_write(self.disk, work / f"{name}.qcow2"), role="system"),
            Drive(path=seed, role="seed", writable=False),
            *further.drives(plan, node, work=work, name=name),
        ]
        return Hardware(
            kind="q35",
            memory=plan.memory,
            kernel=self.kernel,
            initrd=self.initrd,
            append=_APPEND,
            drives=tuple(drives),
        )


def home_in(cache: Path) -> Path:
    """Return where the cache has the guest system, or will have it."""
    return cache / "lab" / f"debian-{SUITE}-{_recipe()}"


def prepare(cache: Path, progress: Progress, *, mirror: str | None = None, offline: bool = False) -> Debian:
    """Return the guest system out of the cache, made first if it is not there.

    Args:
        cache: a directory that outlives the lab.
        progress: told, as it takes a minute or two.
        mirror: a vendored directory that may have it.
        offline: whether the network is never asked.

    Raises:
        InputError: a tool is missing, or Debian's archive cannot be reached.
    """
    find("qemu-img", package="qemu-utils")  # wanted last, and said first
    home = home_in(cache)
    with _locked(home.parent):
        if not (home / "version").exists() and not made.unpack(home, mirror):
            if offline:
                raise made.needed("the lab's guest system")
            task = f"making the Debian {SUITE} guest (once)"
            progress.start(task)
            _make(home)
            progress.finish(task)
    version = (home / "version").read_text(encoding="utf-8").strip()
    return Debian(
        disk=home / "root.ext4",
        kernel=home / "vmlinuz",
        initrd=home / "initrd",
        floor=home / "floor.cpio",
        version=version,
    )


def _recipe() -> str:
    """Return a digest of all that makes the guest what it is."""
    own = {path: entry.content.decode() for path, entry in settings().items()}
    told = [SUITE, PACKAGES, _ENABLED, _DISABLED, _DISK, own, _DISK_MODULES, _NETWORK_MODULES]
    return hashlib.sha256(json.dumps(told).encode() + _first_process().content).hexdigest()[:12]


def _first_process() -> Entry:
    return render("lab", ("guest",), {})["init"]


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def _make(home: Path) -> None:
    if os.geteuid():
        find("newuidmap", package="uidmap")  # mmdebstrap itself only says that it cannot choose
    part = home.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    root = part / "root"
    try:
        _bootstrap(part / "root.tar")
        _unpack_and_pack(part, root)
        _finish(part, root)
    except BuildError as error:
        raise InputError(
            f"the Debian guest cannot be made: {error}", hint="is deb.debian.org reachable?"
        ) from error
    shutil.rmtree(root)
    (part / "root.tar").unlink()
    shutil.rmtree(home, ignore_errors=True)
    part.rename(home)


def _bootstrap(archive: Path) -> None:
    own = archive.with_name("settings.tar")
    with own.open("wb") as to:
        write_tar(settings(), to, epoch=0)
    run(
        [
            *(find("mmdebstrap", package="mmdebstrap"), "--quiet", "--variant=minbase"),
            f"--include={','.join(PACKAGES)}",
            *("--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*"),
            f'--customize-hook=chroot "$1" systemctl --quiet enable {" ".join(_ENABLED)}',
            f'--customize-hook=chroot "$1" systemctl --quiet disable {" ".join(_DISABLED)}',
            *(f"--customize-hook=tar-in {own} /", SUITE, archive),
        ],
        timeout=1800,
    )


def _unpack_and_pack(part: Path, root: Path) -> None:
    """Turn the archive into an ext4 disk with the right owners; without root, under fakeroot(1)."""
    disk = part / "root.ext4"
    with disk.open("wb") as image:
        image.truncate(_DISK)
    mke2fs = find("mke2fs", package="e2fsprogs")
    script = 'mkdir "$2" && tar -C "$2" --numeric-owner -xpf "$1" && "$4" -q -t ext4 -m 0 -d "$2" "$3"'
    fake = () if os.geteuid() == 0 else (find("fakeroot", package="fakeroot"), "--")
    run([*fake, "sh", "-c", script, "sh", part / "root.tar", root, disk, mke2fs], timeout=900)


def _finish(part: Path, root: Path) -> None:
    release = next((root / "usr/lib/modules").iterdir())

    def read(path: str) -> bytes:
        return (release / path).read_bytes()

    busybox = file((root / "usr/bin/busybox").read_bytes(), 0o755)
    programs = Tree({"bin/busybox": busybox, "bin/sh": link("busybox")})
    first = render("lab", ("guest",), {})
    (part / "initrd").write_bytes(cpio(merge(first, modules(read, _DISK_MODULES), programs)))
    (part / "floor.cpio").write_bytes(cpio(merge(modules(read, _NETWORK_MODULES), programs)))
    shutil.copyfile(next((root / "boot").glob("vmlinuz-*")), part / "vmlinuz")
    lines = (root / "etc/os-release").read_text(encoding="utf-8").splitlines()
    pretty = next(
        (line.partition("=")[2].strip('"') for line in lines if line.startswith("PRETTY_NAME=")), SUITE
    )
    (part / "version").write_text(f"{pretty}, Linux {release.name}\n", encoding="utf-8")
