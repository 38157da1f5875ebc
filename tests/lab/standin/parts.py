"""The real parts of a stand-in release: Alpine's minirootfs, and Debian's kernel, OpenRC and e2fsprogs."""

from __future__ import annotations

import hashlib
import stat
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.tree import Entry, Tree, write_tar

if TYPE_CHECKING:
    from collections.abc import Callable

SUITE = "trixie"
KERNELS = {"x86_64": "linux-image-cloud-amd64", "aarch64": "linux-image-arm64"}
DEBIAN_ARCHS = {"x86_64": "amd64", "aarch64": "arm64"}
TRIPLETS = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}
PROGRAMS = ("openrc", "e2fsprogs", "iptables", "libpam-modules")
_FIRMWARE = "raspi-firmware"
_WANTED = (
    *("boot/vmlinuz-", "etc/init.d/", "etc/rc.conf", "usr/lib/rc/", "usr/sbin/", "usr/bin/rc-status"),
    *("usr/lib/linux-image-", "usr/lib/modules/", "usr/lib/raspi-firmware/", "etc/mke2fs.conf"),
)
# Of the kernel's modules: what a server on these machines may use, and not the gigabyte of other hardware's.
_MODULES = (
    *("arch/", "block/", "crypto/", "fs/", "lib/", "net/"),
    *("drivers/block/", "drivers/char/", "drivers/dma", "drivers/i2c/busses/i2c-bcm2835", "drivers/mmc/"),
    *("drivers/net/phy/", "drivers/net/mdio/", "drivers/net/usb/", "drivers/net/virtio_net"),
    *("drivers/net/veth", "drivers/net/tun", "drivers/net/dummy", "drivers/net/vxlan/", "drivers/net/mii"),
    *("drivers/net/net_failover", "drivers/nvmem/", "drivers/rtc/", "drivers/scsi/", "drivers/thermal/"),
    *("drivers/usb/", "drivers/virtio/", "drivers/watchdog/bcm2835", "drivers/acpi/", "drivers/input/"),
)
_NOT = ("fs/ceph", "fs/ocfs2", "fs/gfs2", "fs/smb", "fs/xfs", "fs/btrfs", "net/mac80211", "net/wireless")
_LEGACY = (
    *(
        "drivers/usb/gadget/function",
        "drivers/usb/gadget/legacy",
        "drivers/usb/serial",
        "drivers/usb/misc",
        "drivers/scsi/aic",
        "drivers/scsi/q",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a stand-in is made from.

    Attributes:
        arch: `x86_64` or `aarch64`.
        alpine: the minirootfs.
        debian: files of Debian's packages.
    """

    arch: str
    alpine: Tree
    debian: Tree

    @property
    def triplet(self) -> str:
        """The name of Debian's library directory."""
        return TRIPLETS[self.arch]

    @property
    def release(self) -> str:
        """The kernel's release, as `uname -r` prints it."""
        name = next(path for path in self.debian if path.startswith("boot/vmlinuz-"))
        return name.removeprefix("boot/vmlinuz-")

    @property
    def kernel(self) -> bytes:
        """The kernel."""
        return self.debian[f"boot/vmlinuz-{self.release}"].content

    @property
    def alpine_release(self) -> str:
        """Alpine's version, for instance 3.20.3."""
        return self.alpine["etc/alpine-release"].content.decode().strip()

    def below(self, prefix: str) -> dict[str, Entry]:
        """Return Debian's files below `prefix`, which ends with a slash, by the rest of their path."""
        return {
            path.removeprefix(prefix): entry
            for path, entry in self.debian.items()
            if path.startswith(prefix) and not stat.S_ISDIR(entry.mode)
        }


def gather(arch: str, *, minirootfs: Path, cache: Path, firmware: bool) -> Parts:
    """Return the parts, Debian's from the cache if they are there.

    Args:
        arch: `x86_64` or `aarch64`.
        minirootfs: Alpine's.
        cache: a directory that is kept.
        firmware: with the Raspberry Pi's.

    Raises:
        InputError: mmdebstrap is missing.
        BuildError: Debian's archive cannot be reached.
    """
    packages = (KERNELS[arch], *PROGRAMS, *((_FIRMWARE,) if firmware else ()))
    recipe = hashlib.sha256(repr((packages, _WANTED, _MODULES, _NOT, _LEGACY)).encode()).hexdigest()[:12]
    kept = cache / f"standin-debian-{SUITE}-{arch}-{recipe}.tar"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        _extract(arch, packages, kept)
    return Parts(arch=arch, alpine=read_tar(minirootfs), debian=read_tar(kept))


def read_tar(path: Path, wanted: Callable[[str], bool] = lambda _: True) -> Tree:
    """Return the directories, files and links of a tar archive whose path is `wanted`."""
    entries: dict[str, Entry] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            name = member.name.removeprefix("./").rstrip("/")
            if name in {"", "."} or not wanted(name):
                continue
            content = tar.extractfile(member) if member.isreg() or member.islnk() else None
            kind = stat.S_IFDIR if member.isdir() else stat.S_IFLNK if member.issym() else stat.S_IFREG
            entries[name] = Entry(
                mode=kind | stat.S_IMODE(member.mode),
                content=member.linkname.encode() if member.issym() else content.read() if content else b"",
                uid=member.uid,
                gid=member.gid,
            )
    return Tree(entries)


def _extract(arch: str, packages: tuple[str, ...], to: Path) -> None:
    components = "main,non-free-firmware" if _FIRMWARE in packages else "main"
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "root.tar"
        run(
            [
                *(find("mmdebstrap", package="mmdebstrap"), "--quiet", "--variant=extract"),
                *(f"--architectures={DEBIAN_ARCHS[arch]}", f"--components={components}"),
                *(f"--include={','.join(packages)}", SUITE, whole),
            ],
            timeout=1800,
        )
        part = to.with_suffix(".part")
        with part.open("wb") as archive:
            write_tar(read_tar(whole, _is_wanted), archive, epoch=0)
        part.rename(to)


def _is_wanted(path: str) -> bool:
    kernel = path.partition("/kernel/")[2] if path.startswith("usr/lib/modules/") else ""
    if kernel:
        return kernel.startswith(_MODULES) and not kernel.startswith((*_NOT, *_LEGACY))
    if path.startswith("usr/lib/linux-image-"):
        return path.endswith(".dtb") and "/broadcom/" in path
    library = path.startswith(tuple(f"usr/lib/{triplet}/" for triplet in TRIPLETS.values()))
    return (library and ".so" in path.rpartition("/")[2]) or path.startswith(_WANTED)
