"""From one real release of etcd to the next while somebody writes all the time, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.sources import Want
from tests.cluster.desk import SERVED, busy
from tests.cluster.releases import FROM_DEBIAN_12, FROM_SOURCE, from_debian_12, from_source
from tests.cluster.site import Site, nodes, operate
from tests.need import need_input

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.cluster.built import Built
    from tests.cluster.cluster import Cluster

    Bench = Callable[[Built], AbstractContextManager[Cluster]]


def versions(site: Site) -> set[str]:
    """Return what the members say that they run."""
    lines = site.cluster.desk.etcdctl("endpoint", "status", "--cluster").splitlines()
    return {line.split(", ")[2] for line in lines}


def processes(site: Site) -> dict[str, list[int]]:
    """Return the numbers of every node's etcd."""
    return {name: machine.service.processes() for name, machine in site.cluster.machines.items()}


def test_a_minor_version_later_with_no_key_lost(bench: Bench, tmp_path: Path) -> None:
    """Debian 12's 3.4 to Debian 13's 3.5, then other settings."""
    lock = from_debian_12(tmp_path)
    with operate(SERVED, bench, tmp_path, lock=lock, etcd={"version": FROM_DEBIAN_12}) as site:
        assert versions(site) == {FROM_DEBIAN_12}
        site.change(etcd={"version": "3.5.16"}, nodes=nodes(*SERVED[:2]))
        # Another member of the profile or the cluster would be left out.
        assert "left: remove n3" in site.tool.refused("upgrade", "--push")
        site.change(nodes=nodes(*SERVED))
        with busy(site.cluster.desk, "upgraded-", new_leader=True) as writer:
            writer.mark(f"{FROM_DEBIAN_12} to 3.5.16")
            assert "every member runs etcd 3.5.16" in site.tool.run("upgrade", "--push")
            assert versions(site) == {"3.5.16"}
            writer.mark("other settings")
            site.change(etcd={"version": "3.5.16", "snapshot_count": 5000})
            before = processes(site)
            site.tool.run("upgrade", "--push")
            after = processes(site)
            assert {name for name in SERVED if before[name] != after[name]} == set(SERVED)
        saved = site.cluster.built.out / "before-3.5.16.db"
        assert site.cluster.desk.etcdctl("snapshot", "status", str(saved))


def test_to_3_6_with_no_key_lost(bench: Bench, tmp_path: Path) -> None:
    """A late 3.5 to 3.6, both as Go makes them of their sources; the way back is refused."""
    need_input(Want(name="etcd", version="3.6.14", arch="x86_64", files=("etcd", "etcdctl")))
    lock = from_source(tmp_path)
    with operate(SERVED, bench, tmp_path, lock=lock, etcd={"version": FROM_SOURCE}) as site:
        assert versions(site) == {FROM_SOURCE}
        site.change(etcd={"version": "3.6.14"})
        with busy(site.cluster.desk, "upgraded-", new_leader=True) as writer:
            writer.mark(f"{FROM_SOURCE} to 3.6.14")
            assert "every member runs etcd 3.6.14" in site.tool.run("upgrade", "--push")
        assert versions(site) == {"3.6.14"}
        site.change(etcd={"version": "3.5.16"})
        before = processes(site)
        assert "3.5.16 is older than 3.6.14" in site.tool.refused("upgrade", "--push")
        assert (processes(site), versions(site)) == (before, {"3.6.14"})
