"""A cluster as its operator has it: machines with ssh, the tool at the desk, and a profile that changes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from nodebake.command import run
from nodebake.pipeline import resolve
from tests.cluster.built import Built, bake, write_profile
from tests.cluster.cluster import Desk
from tests.cluster.desk import Tool
from tests.cluster.machine import boot, unpack
from tests.cluster.sshd import keypair, serve
from tests.cluster.unit import UNIT, Systemd
from tests.need import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.cluster.cluster import Cluster
    from tests.cluster.machine import Machine

NAME = "kept"
DATA = "var/lib/etcd"
FILTER = "nodebake-firewall"


@dataclass(slots=True)
class Site:
    """The cluster, the tool, and the profile both go by."""

    cluster: Cluster
    tool: Tool

    def power_on(self, name: str, *, data_of: Path | None = None) -> Machine:
        """Boot a node from its present artefact, with a former root's data or none, and start all."""
        node = self.cluster.built.plan.node(name)
        root = self.cluster.work / f"{name}-{len(list(self.cluster.work.iterdir()))}"
        unpack(self.cluster.built, node, root)
        if data_of:
            run(["cp", "-a", data_of / DATA, root / DATA])
        machine = boot(self.cluster.built, node, root, bridge=self.cluster.bridge)
        self.cluster.machines[name] = machine
        turn_on(machine)
        return machine

    def power_off(self, name: str) -> Machine:
        """End a machine for good, and return it: its root is still there."""
        machine = self.cluster.machines.pop(name)
        machine.close()
        return machine

    def change(self, **sections: object) -> None:
        """Lay sections over the profile; the desk goes by it from now on."""
        document = yaml.safe_load(self.tool.profile.read_text())
        for name, value in sections.items():
            document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
        self.tool.profile.write_text(yaml.safe_dump(document))
        self.follow()

    def follow(self) -> None:
        """Have the desk go by the profile as it is now."""
        cluster = self.cluster
        cluster.built = Built(resolve(str(self.tool.profile)), cluster.built.out)
        cluster.desk = Desk(cluster.built, cluster.desk.box, cluster.desk.etcdctl_path)


def nodes(*names: str) -> list[dict[str, object]]:
    """Return the profile's nodes of these names: n1 has 10.78.0.11."""
    return [{"name": name, "address": f"10.78.0.1{name[1]}/24"} for name in names]


def turn_on(machine: Machine) -> None:
    """Start what a node of these tests runs: ssh, its packet filter, a systemd that obeys, etcd."""
    serve(machine)
    if (machine.root / UNIT.format(FILTER)).exists():
        machine.also(FILTER).start()
    assert isinstance(machine.service, Systemd)
    machine.service.obey()
    machine.service.start()


@contextmanager
def operate(
    names: Sequence[str],
    bench: Callable[[Built], AbstractContextManager[Cluster]],
    directory: Path,
    *,
    lock: Path = ROOT / "sources.lock",
    **sections: object,
) -> Iterator[Site]:
    """Give a cluster of nodes with these names, formed, and its operator's desk.

    Args:
        names: n1 to n9.
        bench: makes a bridge and a desk for a build.
        directory: for profile, vault and build.
        lock: where etcd comes from.
        sections: of the profile, further ones or others.
    """
    identity, public = keypair(directory)
    document = {
        "schema": 1,
        "cluster": {"name": NAME},
        "machine": {"os": "debian", "board": "vm", "arch": "x86_64"},
        "network": {"interface": "eth0"},
        "nodes": nodes(*names),
        "etcd": {"version": "3.5.16"},
        "access": {"ssh_authorized_keys": [public]},
        "outputs": ["rootfs"],
        **sections,
    }
    profile = write_profile(directory, NAME, document)
    with bench(bake(profile, directory, lock=lock)) as cluster:
        for name in names:
            turn_on(cluster.add(name))
        cluster.formed()
        yield Site(cluster, Tool(cluster.desk, profile, directory / "vault" / NAME, identity))
