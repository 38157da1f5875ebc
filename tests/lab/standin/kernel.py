"""Debian's kernel modules as Alpine has them: indexed by depmod, in the initramfs and in the modloop."""

from __future__ import annotations

import lzma
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.lab.initramfs import closure
from nodebake.tree import Tree, file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.lab.standin.parts import Parts

_FILESYSTEMS = ("squashfs", "loop", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8", "ext4")
_CHECKSUMS = ("crc32c_generic", "crc32c_cryptoapi", "libcrc32c", "crc16")
_VIRTIO = ("virtio_blk", "virtio_pci", "virtio_mmio", "virtio_net", "virtio_scsi", "sd_mod")
_SDCARD = ("mmc_block", "bcm2835", "sdhci_iproc", "bcm2835_dma", "bcm2835_mbox", "raspberrypi_firmware")
_USB = ("dwc2", "phy_generic", "usb_storage", "sd_mod", "usbnet", "cdc_ether", "smsc95xx", "lan78xx")
IN_INITRAMFS = {
    "virt": (*_FILESYSTEMS, *_CHECKSUMS, *_VIRTIO),
    "rpi": (*_FILESYSTEMS, *_CHECKSUMS, *_SDCARD, *_USB),
}
"""By flavour, what mkinitfs's features stand for (base, squashfs, virtio; base, squashfs, mmc, usb)."""


def indexed(parts: Parts) -> Tree:
    """Return all modules, uncompressed, and depmod's indexes: the tree below `lib/modules`.

    Raises:
        InputError: depmod is missing.
    """
    files = {}
    for path, entry in parts.below("usr/lib/modules/").items():
        packed = path.endswith(".ko.xz")
        files[path.removesuffix(".xz")] = lzma.decompress(entry.content) if packed else entry.content
    return _with_indexes(files, parts.release)


def for_initramfs(tree: Tree, release: str, flavour: str) -> Tree:
    """Return the flavour's modules and what they need, with indexes of their own, as mkinitfs makes them."""
    dependencies = tree[f"{release}/modules.dep"].content.decode()
    wanted = {f"{release}/{path}" for path in closure(dependencies, IN_INITRAMFS[flavour])}
    wanted |= {f"{release}/{name}" for name in ("modules.order", "modules.builtin")}
    few = _with_indexes({path: tree[path].content for path in wanted & {*tree}}, release)
    return Tree({f"lib/modules/{path}": entry for path, entry in few.items()})


def _with_indexes(files: Mapping[str, bytes], release: str) -> Tree:
    """Return what lies below `lib/modules`, and what depmod makes of it."""
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "lib/modules"
        for path, content in files.items():
            to = base / path
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(content)
        run([find("depmod", package="kmod"), "-b", scratch, release])
        return Tree(
            {
                str(path.relative_to(base)): file(path.read_bytes())
                for path in sorted(base.rglob("*"))
                if path.is_file()
            }
        )


def modloop(tree: Tree) -> bytes:
    """Return a squashfs with all modules: `modules/<release>/...`.

    Raises:
        InputError: mksquashfs is missing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        for path, entry in tree.items():
            if stat.S_ISDIR(entry.mode):
                continue
            to = root / "modules" / path
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(entry.content)
        image = Path(scratch) / "modloop"
        run(
            [
                *(find("mksquashfs", package="squashfs-tools"), root, image, "-quiet", "-no-progress"),
                *("-comp", "xz", "-all-root", "-all-time", "0", "-mkfs-time", "0", "-no-exports"),
            ]
        )
        return image.read_bytes()
