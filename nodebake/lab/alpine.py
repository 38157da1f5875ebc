"""Alpine machines: a release's own kernel, initramfs and packages, and the node's overlay beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nodebake.bases import alpine as base
from nodebake.errors import BuildError, InputError
from nodebake.formats import card
from nodebake.lab import further, pi
from nodebake.lab.bootfs import BootFiles, boot_files
from nodebake.lab.hardware import Drive, Hardware, Kind, larger
from nodebake.lab.initramfs import cpio, modules, read_cpio
from nodebake.pipeline import imaging
from nodebake.sources import Sources
from nodebake.tree import Tree, link, merge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.formats.card import Card
    from nodebake.lab.options import Options
    from nodebake.manifest import Manifest
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress
    from nodebake.tree import Entry

_NETWORK_MODULES = ("virtio_net",)
_KINDS: Mapping[str, Kind] = {"x86_64": "q35", "aarch64": "virt"}
_KERNEL, _INITRAMFS = "boot/vmlinuz-virt", "boot/initramfs-virt"
_PI_INITRAMFS = "boot/initramfs-rpi"
# What the medium's own boot loader says, a console to read, an end after a panic instead of a shell; and,
# as for every guest of the lab, nothing that only slows an emulated processor down.
_APPEND = "modules=loop,squashfs,sd-mod,usb-storage loglevel=6 panic=-1 mitigations=off nokaslr norandmaps"
_OWN = {"x86_64": "console=ttyS0 init_on_alloc=0 clearcpuid=rep_good", "aarch64": "console=ttyAMA0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alpine:
    """A release that is ready to be booted.

    Attributes:
        manifest: what the build wrote.
        card: what every node's disk starts as.
        floor: a cpio archive with busybox and the network card's driver, see `floor`; None for a Pi.
        version: which Alpine, and which kernel.
        kind: of the artefact that a machine boots.
    """

    manifest: Manifest
    card: Card
    floor: Path | None
    version: str
    kind: str = "apkovl"

    def hardware(
        self, plan: Plan, node: NodePlan, *, artefacts: Path, work: Path, label: str = ""
    ) -> Hardware:
        """Return the machine that boots the node's disk: release, overlay, boot files, data partition."""
        name = label or node.name
        own = work / name
        own.mkdir()
        files = imaging.contents(self.manifest.nodes[node.name], artefacts)
        card.write(plan, node, self.card, files, out=own, epoch=self.manifest.epoch)
        disk = own / f"{node.name}.img"
        drive = Drive(path=disk, role="system", holds_data=bool(self.card.data))
        others = further.drives(plan, node, work=work, name=name)
        if plan.board.firmware:
            return pi.hardware(drive, *others)
        larger(disk)
        boot = boot_files(disk)
        kernel, initramfs = own / "kernel", own / "initramfs"
        kernel.write_bytes(boot.read(_KERNEL))
        initramfs.write_bytes(boot.read(_INITRAMFS))
        return Hardware(
            kind=_KINDS[plan.arch],
            memory=plan.memory,
            kernel=kernel,
            initrd=initramfs,
            append=f"{_APPEND} {_OWN[plan.arch]}",
            drives=(drive, *others),
        )


def prepare(plan: Plan, manifest: Manifest, *, options: Options, progress: Progress, work: Path) -> Alpine:
    """Return the release as the nodes' machines boot it.

    Args:
        plan: the cluster.
        manifest: what the build wrote.
        options: the run's.
        progress: told, as it takes some seconds.
        work: directory for disks.

    Raises:
        InputError: a tool is missing, or there is no release.
        BuildError: the release cannot be used.
    """
    # No BIOS of ARM machines starts a disk by syslinux; the lab takes the kernel out of it in any case.
    flavour = base.flavour(plan) or replace(base.VIRT, bios=False)
    try:
        sources = Sources.of(options, progress)
        path, used = imaging.release(plan, flavour, options.base, sources)
    except InputError as error:
        raise InputError(
            f"the lab needs a release of Alpine: {error}",
            hint=f"--base FILE takes one: {flavour.file}; --mirror DIRECTORY_OR_URL that has it does, too",
        ) from error
    own = max(base.steps(item.size for item in items) for items in manifest.nodes.values())
    bases = options.cache / "bases"
    shared = base.card(flavour, path, used.sha256, own=own, cache=bases, progress=progress)
    boot = boot_files(shared.boot.image)
    files = _initramfs(boot, _PI_INITRAMFS if plan.board.firmware else _INITRAMFS)
    index = next(name for name in files if name.endswith("/modules.dep"))
    modules_of, kernel = index.rpartition("/")[0], index.split("/")[2]
    floor = None if plan.board.firmware else work / "floor.cpio"
    if floor:
        floor.write_bytes(cpio(_floor(files, modules_of)))
    return Alpine(
        manifest=manifest,
        card=replace(shared, data=imaging.data(plan, work / "data.ext4", epoch=manifest.epoch)),
        floor=floor,
        version=f"Alpine {boot.read('.alpine-release').decode().strip()}, Linux {kernel}",
    )


def _initramfs(boot: BootFiles, path: str) -> Tree:
    try:
        return read_cpio(boot.read(path))
    except ValueError as error:
        raise BuildError(f"{path} of the release cannot be read: {error}") from error


def _floor(files: Tree, modules_of: str) -> Tree:
    """Return the release's own busybox with its C library, and the driver of the network card."""
    kept: dict[str, Entry] = {
        path: entry
        for path, entry in files.items()
        if path == "bin/busybox" or path.startswith("lib/ld-musl-")
    }
    drivers = modules(lambda path: files[f"{modules_of}/{path}"].content, _NETWORK_MODULES)
    return merge(Tree({**kept, "bin/sh": link("busybox")}), drivers)
