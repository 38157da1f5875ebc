"""A snapshot of a cluster that is written to, and a new cluster from it on new machines."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.cluster.desk import SERVED, busy
from tests.cluster.site import DATA
from tests.cluster.test_certificates import state
from tests.cluster.test_replace import answers
from tests.patience import still, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.desk import Tool
    from tests.cluster.machine import Machine
    from tests.cluster.site import Site

WATCHED = 10  # seconds


def test_a_cluster_is_lost_and_comes_back_from_its_backup(served: Site, tmp_path: Path) -> None:
    """All members die. Their successors have what was acknowledged before the backup, and nothing else."""
    cluster, tool = served.cluster, served.tool
    desk, snapshot = cluster.desk, tmp_path / "kept.db"
    with busy(desk, "before-") as writer:
        writer.mark("backup")
        acknowledged = set(writer.acknowledged)
        assert "keys, revision" in tool.run("backup", "--file", str(snapshot))
    assert desk.etcdctl("put", "later", "lost") == "OK\n"
    members = {one["ID"] for one in desk.members()}
    wrong_moves(tool, snapshot, tmp_path)

    old = [served.power_off(name) for name in SERVED]
    assert "restored from" in tool.run("restore", "--file", str(snapshot))
    for name in SERVED[:2]:
        served.power_on(name)
    until("two restored members take requests", lambda: cluster.writes(*SERVED[:2]), seconds=180)
    with_old_data(served, old[2])
    cluster.formed()

    assert acknowledged <= set(desk.etcdctl("get", "--prefix", "--keys-only", "before-").split())
    assert desk.etcdctl("get", "later") == ""
    assert members.isdisjoint(one["ID"] for one in desk.members())


def wrong_moves(tool: Tool, snapshot: Path, directory: Path) -> None:
    """Nothing is written over, what is not whole is no snapshot, and a cluster that runs is not restored."""
    before = state(tool)
    assert "is there already" in tool.refused("backup", "--file", str(snapshot))
    short = directory / "short.db"
    short.write_bytes(snapshot.read_bytes()[:-1])
    assert "no whole snapshot" in tool.refused("restore", "--file", str(short))
    damaged = directory / "damaged.db"
    damaged.write_bytes(b"x" + snapshot.read_bytes()[1:])
    assert "is damaged" in tool.refused("restore", "--file", str(damaged))
    assert "on top of data" in tool.refused("restore", "--file", str(snapshot))
    assert state(tool) == before


def with_old_data(served: Site, old: Machine) -> None:
    """Boot the new artefact of a node on its old data partition: it stays out until that is emptied."""
    name = old.node.name
    machine = served.power_on(name, data_of=old.root)
    until(
        "it says why", lambda: "has data of another cluster, from before a restore" in machine.service.log()
    )
    still("it stays out", lambda: not answers(served.cluster, name), seconds=WATCHED)
    shutil.rmtree(machine.root / DATA / "member")
