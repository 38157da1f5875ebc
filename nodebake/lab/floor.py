"""The floor: the same kernel, etcd and emulator, with an initramfs that sets the address and execs etcd."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

from nodebake.components.etcd.part import CONFIG_FILE, EtcdPart
from nodebake.errors import BuildError
from nodebake.lab.hardware import Hardware
from nodebake.lab.initramfs import cpio
from nodebake.overlay import render
from nodebake.tree import Tree, file, merge

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.plan import NodePlan, Plan
    from nodebake.sources.model import Fetched

_APPEND = "loglevel=6 panic=-1 mitigations=off nokaslr norandmaps init_on_alloc=0 clearcpuid=rep_good"


def hardware(
    plan: Plan, node: NodePlan, *, system: Hardware, base: Path, archive: Path, etcd: Fetched
) -> Hardware:
    """Return the machine that does nothing but run the node's etcd.

    Args:
        plan: the cluster.
        node: whose configuration and keys etcd gets.
        system: the machine that boots the node's artefact; this one has its kernel and memory.
        base: a cpio archive with busybox and the network card's driver.
        archive: the artefact with the node's files; the initramfs is written beside the machine's disks.
        etcd: the same program, with the loader and libraries it may need.
    """
    part = plan.part(EtcdPart)
    values = {
        "addresses": node.interfaces,
        "data_dir": part.data_dir,
        "etcd": f"{part.bin_dir}/etcd",
        "config": CONFIG_FILE,
    }
    programs = {f"{part.bin_dir}/etcd": etcd.files["etcd"], **etcd.runtime}
    tree = merge(
        render("lab", ("floor",), values),
        node_files(archive),
        Tree({path: file(content, 0o755) for path, content in programs.items()}),
    )
    initrd = system.drives[0].path.parent / f"{node.name}.floor.cpio"
    initrd.write_bytes(base.read_bytes() + cpio(tree))
    console = next(word for word in system.append.split() if word.startswith("console="))
    return Hardware(
        kind=system.kind,
        memory=system.memory,
        kernel=system.kernel,
        initrd=initrd,
        append=f"{console} {_APPEND}",
    )


def node_files(archive: Path) -> Tree:
    """Return etcd's configuration, certificates and keys out of a node's artefact.

    Raises:
        BuildError: it is no tar archive that has them.
    """
    try:
        with tarfile.open(archive) as tar:
            found = {
                member.name: file(content.read())
                for member in tar
                if member.isfile() and member.name.startswith("etc/") and (content := tar.extractfile(member))
            }
    except (OSError, tarfile.TarError) as error:
        raise BuildError(f"{archive} cannot be read: {error}") from error
    return Tree(found)
