"""A stand-in release: what an `alpine-rpi-*.tar.gz` or an alpine-virt medium has, file by file."""

from __future__ import annotations

import gzip
import hashlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.formats.packing import pack
from nodebake.lab.initramfs import cpio
from nodebake.tree import Tree, file, merge
from tests.lab.standin import apk, kernel
from tests.lab.standin.packages import packages
from tests.lab.standin.parts import Parts, gather
from tests.need import CACHE, need, shared

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
_ALPINE_RELEASE = "3.20.3"
_TOOLS = {
    "depmod": "kmod",
    "mksquashfs": "squashfs-tools",
    "mmdebstrap": "mmdebstrap",
    "patchelf": "patchelf",
}
# What the initramfs has of Alpine: busybox and apk with their libraries, and whom apk trusts.
_ALPINE = ("bin/busybox", "bin/sh", "sbin/apk", "lib/ld-musl-", "lib/lib", "usr/lib/lib", "etc/apk/keys/")
_OWN = ("init", "etc/passwd", "etc/group")
# aports, scripts/mkimg.arm.sh.
_CONFIG = """\
# Do not modify this file: an upgrade overwrites it. Settings belong into usercfg.txt.
kernel=boot/vmlinuz-rpi
initramfs boot/initramfs-rpi
arm_64bit=1
include usercfg.txt
"""
_CMDLINE = "modules=loop,squashfs,sd-mod,usb-storage quiet console=tty1\n"
# By the names the firmware looks for, which are the downstream kernel's.
_DEVICE_TREES = {
    "bcm2837-rpi-3-b.dtb": ("bcm2837-rpi-3-b.dtb", "bcm2710-rpi-3-b.dtb"),
    "bcm2837-rpi-3-b-plus.dtb": ("bcm2837-rpi-3-b-plus.dtb", "bcm2710-rpi-3-b-plus.dtb"),
    "bcm2837-rpi-zero-2-w.dtb": ("bcm2837-rpi-zero-2-w.dtb", "bcm2710-rpi-zero-2-w.dtb"),
    "bcm2711-rpi-4-b.dtb": ("bcm2711-rpi-4-b.dtb",),
    "bcm2712-rpi-5-b.dtb": ("bcm2712-rpi-5-b.dtb",),
}
_FIRMWARE = (
    *("bootcode.bin", "start.elf", "fixup.dat", "start_cd.elf", "fixup_cd.dat", "start4.elf", "fixup4.dat"),
)


def release(arch: str, flavour: str) -> Path:
    """Return a stand-in release's tarball, made unless the cache has it.

    Without Alpine's minirootfs or a tool the test that asks for it is skipped, or fails in CI.

    Args:
        arch: `x86_64` or `aarch64`.
        flavour: `virt` or, with the Raspberry Pi's files, `rpi`.

    Raises:
        BuildError: Debian's archive cannot be reached.
    """
    minirootfs, cache = shared(f"alpine-minirootfs-{_ALPINE_RELEASE}-{arch}.tar.gz"), CACHE / "lab"
    for tool, package in _TOOLS.items():
        need(tool, package=package)
    told = hashlib.sha256(minirootfs.read_bytes())
    for path in sorted(HERE.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            told.update(f"{path.relative_to(HERE)}\n".encode() + path.read_bytes())
    made = cache / f"standin-{flavour}-{arch}-{told.hexdigest()[:12]}.tar.gz"
    if not made.exists():
        parts = gather(arch, minirootfs=minirootfs, cache=cache, firmware=flavour == "rpi")
        part = made.with_suffix(".part")
        part.write_bytes(gzip.compress(pack(medium(parts, flavour), 0), 1, mtime=0))
        part.rename(made)
    return made


def medium(parts: Parts, flavour: str) -> Tree:
    """Return the files of the medium."""
    modules = kernel.indexed(parts)
    repository = apk.repository(packages(parts))
    files = {
        f"boot/vmlinuz-{flavour}": parts.kernel,
        f"boot/initramfs-{flavour}": gzip.compress(cpio(_initramfs(parts, modules, flavour)), mtime=0),
        f"boot/modloop-{flavour}": kernel.modloop(modules),
        "apks/.boot_repository": b"",
        ".alpine-release": f"{parts.alpine_release}\n".encode(),
        **{f"apks/{parts.arch}/{name}": content for name, content in repository.items()},
        **(_raspberry_pi(parts) if flavour == "rpi" else {}),
    }
    return Tree({path: file(content) for path, content in files.items()})


def _raspberry_pi(parts: Parts) -> Mapping[str, bytes]:
    trees = parts.below(f"usr/lib/linux-image-{parts.release}/broadcom/")
    firmware = parts.below("usr/lib/raspi-firmware/")
    return {
        "config.txt": _CONFIG.encode(),
        "cmdline.txt": _CMDLINE.encode(),
        **{name: trees[theirs].content for theirs, names in _DEVICE_TREES.items() for name in names},
        **{name: firmware[name].content for name in _FIRMWARE},
    }


def _initramfs(parts: Parts, modules: Tree, flavour: str) -> Tree:
    alpine = {
        path: entry
        for path, entry in parts.alpine.items()
        if path.startswith(_ALPINE) and not stat.S_ISDIR(entry.mode)
    }
    # passwd and group are mkinitfs's: names in an overlay's archive are looked up there.
    own = {name: file((HERE / "initramfs" / name).read_bytes(), 0o755) for name in _OWN}
    key = {f"etc/apk/keys/{apk.KEY_NAME}": file(apk.public_key())}
    return merge(Tree({**alpine, **own, **key}), kernel.for_initramfs(modules, parts.release, flavour))
