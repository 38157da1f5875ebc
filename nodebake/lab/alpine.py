"""Alpine machines: a release's own kernel, initramfs and packages, and the node's overlay beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.errors import InputError
from nodebake.lab import card, pi
from nodebake.lab.hardware import Drive, Hardware, Kind
from nodebake.lab.initramfs import cpio, modules
from nodebake.lab.release import Release, unpack
from nodebake.tree import Tree, link, merge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress
    from nodebake.tree import Entry

_NETWORK_MODULES = ("virtio_net",)
_KINDS: Mapping[str, Kind] = {"x86_64": "q35", "aarch64": "virt"}
# What the medium's own boot loader says, a console to read, an end after a panic instead of a shell; and,
# as for every guest of the lab, nothing that only slows an emulated processor down.
_APPEND = "modules=loop,squashfs,sd-mod,usb-storage loglevel=6 panic=-1 mitigations=off nokaslr norandmaps"
_OWN = {"x86_64": "console=ttyS0 init_on_alloc=0 clearcpuid=rep_good", "aarch64": "console=ttyAMA0"}
_HOW = (
    "name one: --base FILE; for a virtual machine alpine-virt-<version>-<arch>.iso, for a Raspberry Pi "
    "alpine-rpi-<version>-aarch64.tar.gz, from https://alpinelinux.org/downloads/; or boot whole "
    "cards, which ./invoke image writes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alpine:
    """A release that is ready to be booted.

    Attributes:
        release: what is on it.
        disk: what every node's disk starts as.
        floor: a cpio archive with busybox and the network card's driver, see `floor`; None for a Pi.
        version: which Alpine, and which kernel.
    """

    release: Release
    disk: Path
    floor: Path | None
    version: str

    def hardware(
        self, plan: Plan, node: NodePlan, *, artefacts: Path, work: Path, label: str = ""
    ) -> Hardware:
        """Return the machine that boots the node's disk: release, overlay, boot files, data partition."""
        name = label or node.name
        own = artefacts / node.name
        boot = {
            str(path.relative_to(own / "boot")): path for path in (own / "boot").rglob("*") if path.is_file()
        }
        overlay = f"{node.name}.apkovl.tar.gz"
        disk = card.for_node(self.disk, work / f"{name}.img", {overlay: own / overlay, **boot})
        drive = Drive(path=disk, role="system", holds_data=plan.profile.machine.data is not None)
        if plan.board.firmware:
            return pi.hardware(drive)
        return Hardware(
            kind=_KINDS[plan.arch],
            memory=plan.memory,
            kernel=card.take(disk, self.release.kernel, work / f"{name}.kernel"),
            initrd=card.take(disk, self.release.initramfs, work / f"{name}.initramfs"),
            append=f"{_APPEND} {_OWN[plan.arch]}",
            drives=(drive,),
        )


def prepare(plan: Plan, *, base: Path | None, artefacts: Path, work: Path, progress: Progress) -> Alpine:
    """Return the release as the nodes' machines boot it.

    Args:
        plan: the cluster.
        base: a released medium.
        artefacts: the build's directory.
        work: directory for disks.
        progress: told, as it takes some seconds.

    Raises:
        InputError: a tool is missing, or there is no release.
        BuildError: the release cannot be used.
    """
    if base is None:
        raise InputError("the lab needs a release of Alpine, and none was named", hint=_HOW)
    task = f"putting {base.name} onto a disk"
    progress.start(task)
    release = unpack(base, work / "release")
    files = release.initramfs_files()
    index = next(path for path in files if path.startswith("lib/modules/") and path.endswith("/modules.dep"))
    modules_of, kernel = index.rpartition("/")[0], index.split("/")[2]
    floor = None if plan.board.firmware else work / "floor.cpio"
    if floor:
        floor.write_bytes(cpio(_floor(files, modules_of)))
    room = max(_size(artefacts / node.name) for node in plan.nodes)
    disk = card.blank(release.directory, work / "blank.img", room=room, label=card.data_label(plan))
    progress.finish(task)
    version = f"Alpine {release.version}, Linux {kernel}"
    return Alpine(release=release, disk=disk, floor=floor, version=version)


def _floor(files: Tree, modules_of: str) -> Tree:
    """Return the release's own busybox with its C library, and the driver of the network card."""
    kept: dict[str, Entry] = {
        path: entry
        for path, entry in files.items()
        if path == "bin/busybox" or path.startswith("lib/ld-musl-")
    }
    drivers = modules(lambda path: files[f"{modules_of}/{path}"].content, _NETWORK_MODULES)
    return merge(Tree({**kept, "bin/sh": link("busybox")}), drivers)


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
