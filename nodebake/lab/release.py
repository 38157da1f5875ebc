"""Alpine's released media: what is on them, found whatever the flavour is called."""

from __future__ import annotations

import gzip
import lzma
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zstandard import ZstdDecompressor, ZstdError

from nodebake.command import find, run
from nodebake.errors import BuildError, InputError
from nodebake.lab.initramfs import read_cpio

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.tree import Tree

_WHAT = "a release of Alpine is alpine-rpi-*.tar.gz, or alpine-virt-*.iso or a tarball of what is on it"
_LIMIT = 1 << 30  # an initramfs unpacks to some ten megabytes
_MAGIC = {b"\x1f\x8b": gzip.decompress, b"\xfd7": lzma.decompress}
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release, unpacked.

    Attributes:
        directory: what its FAT partition has.
        flavour: the kernel's, for instance `virt`.
        version: Alpine's.
    """

    directory: Path
    flavour: str
    version: str

    @property
    def kernel(self) -> str:
        """The kernel's path on the medium."""
        return f"boot/vmlinuz-{self.flavour}"

    @property
    def initramfs(self) -> str:
        """The initramfs's path on the medium."""
        return f"boot/initramfs-{self.flavour}"

    def initramfs_files(self) -> Tree:
        """Return what is in the initramfs.

        Raises:
            BuildError: it cannot be read.
        """
        packed = (self.directory / self.initramfs).read_bytes()
        try:
            return read_cpio(_unpacked(packed))
        except (OSError, EOFError, lzma.LZMAError, ZstdError, ValueError) as error:
            raise BuildError(f"{self.initramfs} of the release cannot be read: {error}") from error


def unpack(base: Path, to: Path) -> Release:
    """Unpack a released medium into the new directory `to`.

    Raises:
        InputError: it is not there, cannot be read or is no release.
    """
    to.mkdir(parents=True)
    if not base.is_file():
        raise InputError(f"there is no file {base}", hint=f"--base names a file; {_WHAT}")
    try:
        if base.suffix == ".iso":
            xorriso = find("xorriso", package="xorriso")
            run([xorriso, "-osirrox", "on", "-indev", base, "-extract", "/", to, "-end"])
            run(["chmod", "-R", "u+w", to])
        else:
            with tarfile.open(base) as tar:
                tar.extractall(to, filter="data")
    except (OSError, EOFError, tarfile.TarError, BuildError) as error:
        raise InputError(f"{base} cannot be unpacked: {error}", hint=_WHAT) from error
    flavours = sorted(path.name.removeprefix("vmlinuz-") for path in (to / "boot").glob("vmlinuz-*"))
    needed = [".alpine-release", "apks/.boot_repository", *(f"boot/initramfs-{one}" for one in flavours)]
    missing = [name for name in needed if not (to / name).is_file()]
    if missing or len(flavours) != 1:
        what = f"it has no {', '.join(missing)}" if missing else f"it has {len(flavours)} kernels"
        raise InputError(f"{base} is no release of Alpine: {what}", hint=_WHAT)
    version = (to / ".alpine-release").read_text(encoding="utf-8").strip()
    return Release(directory=to, flavour=flavours[0], version=version)


def _unpacked(packed: bytes) -> bytes:
    if packed.startswith(_ZSTD):
        return ZstdDecompressor().decompress(packed, max_output_size=_LIMIT)
    unpacker = next((unpacker for magic, unpacker in _MAGIC.items() if packed.startswith(magic)), bytes)
    return unpacker(packed)
