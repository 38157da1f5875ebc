"""Alpine's release for the Raspberry Pi in small: the layout and the names of the real one."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MADE = 1_725_600_000  # September 2024
FILES = {
    ".alpine-release": b"alpine-rpi-3.20.3 240906\n",
    "cmdline.txt": b"modules=loop,squashfs,sd-mod,usb-storage quiet console=tty1\n",
    "config.txt": b"kernel=boot/vmlinuz-rpi\ninitramfs boot/initramfs-rpi\ninclude usercfg.txt\n",
    "start.elf": b"\x7fELF" + bytes(9000),
    "boot/vmlinuz-rpi": b"kernel" * 40_000,
    "boot/initramfs-rpi": b"initramfs" * 9_000,
    "boot/modloop-rpi": b"modloop" * 50_000,
    "overlays/disable-bt.dtbo": b"\xd0\x0d\xfe\xed",
    "apks/.boot_repository": b"",
    "apks/aarch64/APKINDEX.tar.gz": b"index",
    "apks/aarch64/libstdc++-13.2.1_git20240309-r0.apk": b"package",
}


def release(path: Path, files: dict[str, bytes] | None = None, *extra: tarfile.TarInfo) -> Path:
    """Write a release's archive of `files` and return its path."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in (FILES if files is None else files).items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mtime = len(content), MADE
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    path.write_bytes(gzip.compress(packed.getvalue(), compresslevel=1, mtime=0))
    return path
