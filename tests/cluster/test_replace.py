"""A dead member and its successor, while somebody writes all the time; and moves that must be refused."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from nodebake.errors import BuildError
from tests.cluster.built import Built
from tests.cluster.desk import LONGEST, Tool, busy
from tests.cluster.machine import boot
from tests.cluster.patience import still, until
from tests.cluster.test_certificates import state

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster
    from tests.cluster.machine import Machine

Served = tuple["Cluster", Tool]
WATCHED = 15  # seconds


def dies(cluster: Cluster, name: str) -> Machine:
    """End a machine for good; return it, as its card still has what was on it."""
    machine = cluster.machines.pop(name)
    machine.close()
    return machine


def successor(cluster: Cluster, name: str, place: str) -> Machine:
    """Boot a machine from the present artefact of a node, with an empty disk, and start etcd."""
    fresh = Built(cluster.built.plan, cluster.built.out)
    work, cluster.work = cluster.work, cluster.work / place
    machine = cluster.add(name, build=fresh)
    cluster.work = work
    machine.service.start()
    return machine


def answers(cluster: Cluster, name: str) -> bool:
    """Tell whether the cluster takes requests through a member."""
    try:
        cluster.desk.etcdctl("endpoint", "health", env={"ETCDCTL_ENDPOINTS": cluster.desk.endpoint(name)})
    except BuildError:
        return False
    return True


def ids(cluster: Cluster) -> dict[str, str]:
    """Return the members' ids by name."""
    return {one["name"]: f"{one['ID']:x}" for one in cluster.desk.members()}


def test_a_dead_member_is_replaced_with_no_failed_request(served: Served) -> None:
    """The tool tells the cluster, a new machine boots the new artefact, and the old card stays out."""
    cluster, tool = served
    before = ids(cluster)
    with busy(cluster.desk, "replaced-") as writer:
        writer.mark("n3 dies")
        old = dies(cluster, "n3")
        writer.mark("it is replaced")
        assert "the cluster expects it" in tool.run("replace", "--node", "n3", "--live", "--push")
        writer.mark("its successor starts")
        successor(cluster, "n3", "second")
        cluster.formed()
    assert "n3 is back" in tool.run("replace", "--node", "n3", "--live")
    assert ids(cluster)["n3"] != before["n3"]
    assert cluster.writes("n1", "n2", "n3")

    # The old card, with its data and its certificates, in the place of the new one.
    dies(cluster, "n3")
    returned = boot(cluster.built, old.node, old.root, bridge=cluster.bridge)
    cluster.machines["n3"] = returned
    returned.service.start()
    still("the old card is not let in", lambda: not answers(cluster, "n3"), seconds=WATCHED)
    assert cluster.writes("n1", "n2")


def test_replacing_is_finished_by_the_same_command_after_any_end(served: Served) -> None:
    """Kill -9 at several moments; in the end the cluster expects one new member, and it joins."""
    cluster, tool = served
    dies(cluster, "n2")
    for moment in (0.8, 2, 4, 6, 9):
        process = subprocess.Popen(tool.argv("replace", "--node", "n2", "--live", "--push"))  # noqa: S603 - ours
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=LONGEST)
    assert "the cluster expects it" in tool.run("replace", "--node", "n2", "--live", "--push")
    assert len(cluster.desk.members()) == 3
    successor(cluster, "n2", "second")
    cluster.formed()


def test_wrong_moves_are_refused_and_change_nothing(served: Served) -> None:
    """A healthy member, a stranger, and a member without which the others have no quorum."""
    cluster, tool = served
    before, members = state(tool), ids(cluster)
    assert "n2 is healthy, and a healthy member is not replaced" in tool.refused(
        "replace", "--node", "n2", "--live"
    )
    assert "has no node n9" in tool.refused("replace", "--node", "n9", "--live")
    assert "no node is no member" in tool.refused("replace", "--live")
    dies(cluster, "n3")
    cluster.machines["n2"].service.stop()
    assert "no quorum of the cluster answers" in tool.refused("replace", "--node", "n3", "--live")
    assert state(tool) == before
    cluster.machines["n2"].service.start()
    until("a quorum is back", lambda: cluster.writes("n1", "n2"))
    assert ids(cluster) == members


def test_a_dead_member_is_replaced_by_hand(served: Served) -> None:
    """Without --live the tool says the commands, and they work as they stand."""
    cluster, tool = served
    dies(cluster, "n3")
    said = tool.run("replace", "--node", "n3")
    desk = cluster.desk
    (number,) = (
        line.split()[0].strip(",")
        for line in desk.etcdctl("member", "list").splitlines()
        if "10.78.0.13:2380" in line
    )
    remove, add = (
        line.split("etcdctl ", 1)[1].split()
        for line in said.splitlines()
        if line.startswith("  etcdctl member ") and "list" not in line
    )
    desk.etcdctl(*(number if word == "ID" else word for word in remove))
    # For some seconds the cluster says that it is unhealthy.
    until("the cluster takes it", lambda: desk.etcdctl(*add), seconds=60)
    successor(cluster, "n3", "second")
    cluster.formed()
