"""Operating systems in small: the layout and the names of the real ones."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pycdlib import PyCdlib

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MADE = 1_725_600_000  # September 2024


def _index() -> bytes:
    """Return the medium's list of packages, as apk has it: this one, and one that is not there."""
    text = (
        b"C:Q1pSfbHdtWbKQDmmTTzqFtJ1e3jIY=\nP:libstdc++\nV:13.2.1_git20240309-r0\nA:x86_64\nS:1\n"
        b"L:GPL-2.0-or-later AND LGPL-2.1-or-later\n\nP:curl\nV:8.9.0-r0\nA:x86_64\nL:curl\n\n"
    )
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("APKINDEX")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return gzip.compress(packed.getvalue(), mtime=0)


INDEX = _index()
RPI = {
    ".alpine-release": b"alpine-rpi-3.20.3 240906\n",
    "cmdline.txt": b"modules=loop,squashfs,sd-mod,usb-storage quiet console=tty1\n",
    "config.txt": b"kernel=boot/vmlinuz-rpi\ninitramfs boot/initramfs-rpi\ninclude usercfg.txt\n",
    "start.elf": b"\x7fELF" + bytes(9000),
    "boot/vmlinuz-rpi": b"kernel" * 40_000,
    "boot/initramfs-rpi": b"initramfs" * 9_000,
    "boot/modloop-rpi": b"modloop" * 50_000,
    "overlays/disable-bt.dtbo": b"\xd0\x0d\xfe\xed",
    "apks/.boot_repository": b"",
    "apks/aarch64/APKINDEX.tar.gz": INDEX,
    "apks/aarch64/libstdc++-13.2.1_git20240309-r0.apk": b"package",
}
VIRT = {
    ".alpine-release": b"alpine-virt-3.20.3 240906\n",
    "boot/syslinux/syslinux.cfg": b"KERNEL /boot/vmlinuz-virt\n",
    "boot/vmlinuz-virt": b"kernel" * 40_000,
    "boot/initramfs-virt": b"initramfs" * 9_000,
    "boot/modloop-virt": b"modloop" * 50_000,
    "apks/.boot_repository": b"",
    "apks/x86_64/APKINDEX.tar.gz": INDEX,
    "apks/x86_64/libstdc++-13.2.1_git20240309-r0.apk": b"package",
}


def tarball(path: Path, files: Mapping[str, bytes], *extra: tarfile.TarInfo) -> Path:
    """Write a release as an archive, and return its path."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mtime = len(content), MADE
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    path.write_bytes(gzip.compress(packed.getvalue(), compresslevel=1, mtime=0))
    return path


FIRMWARE = {
    "config.txt": b"arm_64bit=1\nkernel=vmlinuz-6.12.0-arm64\ninitramfs initrd.img-6.12.0-arm64\n",
    "cmdline.txt": b"console=tty0 root=LABEL=ROOT rw\n",
    "vmlinuz-6.12.0-arm64": b"kernel" * 40_000,
    "initrd.img-6.12.0-arm64": b"initrd" * 40_000,
    "overlays/README.md": b"overlays\n",
}


STATUS = b"""\
Package: libc6
Status: install ok installed
Architecture: arm64
Version: 2.41-12
Description: GNU C Library
 Package: is what a description may say

Package: libc-bin
Status: install ok installed
Architecture: arm64
Version: 2.41-12

Package: dbus
Status: install ok installed
Architecture: arm64
Version: 1.16.2-2

Package: zlib1g
Status: install ok installed
Architecture: arm64
Version: 1:1.3-1

Package: nano
Status: deinstall ok config-files
Architecture: arm64
Version: 8.4-1
"""


_HEAD = (
    b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: us\n"
)
COPYRIGHT = {
    "libc6": _HEAD
    + b"""License: LGPL-2.1+ or Expat

Files: a
 b
License: GPL-2

License: GPL-2
 The text, in which
 License: is a word.
""",
    "dbus": _HEAD
    + b"License: AFL-2.1 or GPL-2+\n\nFiles: b\nLicense: BSD-3-clause\n\nFiles: a\nLicense: public-domain\n",
    "zlib1g": b"This package was debianized by somebody.\n\nLicense: see below\n",
}


def root(path: Path, firmware: Mapping[str, bytes] = FIRMWARE) -> Path:
    """Write Debian's root, as mmdebstrap would, and return its path."""
    files = {
        "etc/debian_version": (b"13.0\n", 0o644, 0),
        "var/lib/dpkg/status": (STATUS, 0o644, 0),
        "etc/hostname": (b"localhost\n", 0o644, 0),
        "etc/shadow": (b"root:*:1::::::\n", 0o640, 42),
        "usr/bin/su": (b"su", 0o4755, 0),
        **{f"usr/share/doc/{name}/copyright": (text, 0o644, 0) for name, text in COPYRIGHT.items()},
        **{f"boot/firmware/{name}": (content, 0o755, 0) for name, content in firmware.items()},
    }
    folders = {str(parent): 0o755 for name in files for parent in PurePosixPath(name).parents} | {
        "root": 0o700
    }
    with tarfile.open(path, "w") as archive:
        for name in sorted({*folders, "boot/firmware"} - {"."}):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, folders.get(name, 0o755)
            archive.addfile(member)
        for name, (content, mode, group) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.gid = len(content), mode, group
            archive.addfile(member, io.BytesIO(content))
        for name, target in (("lib", "usr/lib"), ("usr/share/doc/libc-bin", "libc6")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


def iso(path: Path, files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> Path:
    """Write a release as a CD's image, and return its path."""
    image = PyCdlib()
    image.new(interchange_level=3, rock_ridge="1.09")
    folders = {"": ""}
    for number, name in enumerate(sorted((*files, *(links or {})))):
        folder, _, base = name.rpartition("/")
        whole = ""
        for one in folder.split("/") if folder else ():
            inner = f"{whole}/{one}"
            if inner not in folders:
                folders[inner] = f"{folders[whole]}/D{len(folders)}"
                image.add_directory(folders[inner], rr_name=one)
            whole = inner
        place = f"{folders[whole]}/F{number}.;1"
        if links and name in links:
            image.add_symlink(place, base, links[name])
        else:
            image.add_fp(io.BytesIO(files[name]), len(files[name]), place, rr_name=base)
    image.write(str(path))
    image.close()
    return path
