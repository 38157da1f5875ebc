"""One node of a build as a machine: its artefact unpacked as its system would, its etcd under its init."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import TYPE_CHECKING

import yaml

from nodebake.command import run
from tests.cluster import roots
from tests.cluster.namespace import Namespace, plug
from tests.cluster.openrc import OpenRc
from tests.cluster.unit import Systemd
from tests.need import need

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.plan import NodePlan
    from tests.cluster.built import Built

WIDTH = 400  # of a log's line, when a failure shows it
CALM = ('{"level":"info"', "\t", "go.", "main.")  # what is left out of it: routine, and the stack
SEED = "var/lib/cloud/seed/nocloud"


@dataclass(frozen=True, slots=True)
class Machine:
    """A node that runs: its etcd, and the further services that a test asked for."""

    node: NodePlan
    box: Namespace
    service: OpenRc | Systemd
    others: list[OpenRc | Systemd] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """Its root file system, as the host sees it."""
        assert self.box.root
        return self.box.root

    def also(self, name: str, program: str = "") -> OpenRc | Systemd:
        """Return another service of the node, ready to start; `program` is what it runs in the end."""
        kind = type(self.service)
        other = kind(self.box, name, program or name)
        self.others.append(other)
        other.prepare()
        return other

    def told(self) -> str:
        """Return the last complaints and the last lines of every service's log, for a failure."""
        told = []
        for service in (self.service, *self.others):
            lines = [line[:WIDTH] for line in service.log().splitlines()]
            complaints = [line for line in lines[:-8] if not line.startswith(CALM)]
            told += [f"--- {self.node.name} {service.name}", *complaints[-8:], *lines[-8:]]
        return "\n".join(told)

    def close(self) -> None:
        """End it."""
        self.box.close()
        for service in (self.service, *self.others):
            if isinstance(service, Systemd):
                service.close()


def unpack(built: Built, node: NodePlan, root: Path) -> None:
    """Make the node's root file system from its artefact."""
    lay = {"apkovl": _apkovl, "nocloud": _nocloud, "rootfs": _rootfs}
    lay[_kind(built)](built, node, root)


def boot(built: Built, node: NodePlan, root: Path, *, bridge: Namespace, data: bool = True) -> Machine:
    """Bring the node up on the bridge, up to where its init would start etcd.

    Args:
        built: the build.
        node: which node.
        root: its root, from `unpack`.
        bridge: the switch.
        data: whether its data partition is mounted, where the profile has one.
    """
    partition = built.plan.profile.machine.data
    box = Namespace(node.name, root).open(data=partition.mountpoint if partition and data else None)
    # A name like en* in the profile means the first card, whatever it is called.
    card = built.plan.profile.network.interface.replace("*", "0")
    plug(bridge, box, card, [ip_interface(address) for address in node.interfaces])
    if built.plan.init == "systemd":
        _first_boot(box, nocloud=_kind(built) == "nocloud")
    service = OpenRc(box) if built.plan.init == "openrc" else Systemd(box)
    if node.role == "member":
        service.prepare()
    return Machine(node, box, service)


def _kind(built: Built) -> str:
    return built.plan.profile.outputs[0]


def _apkovl(built: Built, node: NodePlan, root: Path) -> None:
    if built.plan.arch == "aarch64":
        roots.emulate_aarch64()
    roots.alpine(root, built.plan.arch)
    # As the initramfs does it (mkinitfs, unpack_apkovl).
    busybox = need("busybox", package="busybox-static")
    run([busybox, "tar", "-C", root, "-zxf", built.out / node.name / f"{node.name}.apkovl.tar.gz"])
    # The boot medium stays mounted; the node's own service links the programs on it.
    run(["cp", "-R", built.out / node.name / "boot", root / "media/card"])
    run(["chmod", "-R", "0755", root / "media/card"])  # as a FAT shows every file
    lines = 'ebegin() { :; }; eend() { return "$1"; }; . /etc/init.d/nodebake-programs; start'
    run(["chroot", root, "/bin/busybox", "sh", "-c", lines])


def _nocloud(built: Built, node: NodePlan, root: Path) -> None:
    roots.debian(root)
    seed = root / SEED
    seed.mkdir(parents=True)
    for path in (built.out / node.name).iterdir():
        if path.is_file() and path.suffix != ".iso":
            (seed / path.name).write_bytes(path.read_bytes())


def _rootfs(built: Built, node: NodePlan, root: Path) -> None:
    roots.debian(root)
    archive = built.out / node.name / f"{node.name}.rootfs.tar.zst"
    run(["tar", "--zstd", "-C", root, "--keep-directory-symlink", "-xpf", archive])


def _first_boot(box: Namespace, *, nocloud: bool) -> None:
    """Do what cloud-init's bootcmd and systemd's nodebake-accounts would do before any service starts."""
    assert box.root
    if nocloud:
        config = yaml.safe_load((box.root / SEED / "user-data").read_text())
        for command in config["bootcmd"]:
            box.run(*(["sh", "-c", command] if isinstance(command, str) else command))
        asked = (box.root / "run/asked").read_text()
        assert "systemctl --no-block start" in asked
    box.run("systemd-sysusers")
