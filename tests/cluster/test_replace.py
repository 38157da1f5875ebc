"""A dead member and its successor, while somebody writes all the time; and moves that must be refused."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from nodebake.errors import BuildError
from tests.cluster.desk import busy
from tests.cluster.machine import boot
from tests.cluster.test_certificates import state
from tests.patience import after, still, until

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster
    from tests.cluster.site import Site

WATCHED = 15  # seconds


def answers(cluster: Cluster, name: str) -> bool:
    """Tell whether the cluster takes requests through a member."""
    try:
        cluster.desk.etcdctl("endpoint", "health", env={"ETCDCTL_ENDPOINTS": cluster.desk.endpoint(name)})
    except BuildError:
        return False
    return True


def ids(cluster: Cluster) -> dict[str, str]:
    """Return the members' ids by name; one that was added and has not started has none."""
    return {one.get("name", ""): f"{one['ID']:x}" for one in cluster.desk.members()}


def test_a_dead_member_is_replaced_and_no_acknowledged_key_is_lost(served: Site) -> None:
    """The tool tells the cluster, a new machine boots the new artefact, and the old card stays out."""
    cluster, tool = served.cluster, served.tool
    before = ids(cluster)
    with busy(cluster.desk, "replaced-", new_leader=True) as writer:
        writer.mark("n3 dies")
        old = served.power_off("n3")
        writer.mark("it is replaced")
        assert "the cluster expects it" in tool.run("replace", "--node", "n3", "--live", "--push")
        writer.mark("its successor starts")
        served.power_on("n3")
        cluster.formed()
    assert "n3 is back" in tool.run("replace", "--node", "n3", "--live")
    assert ids(cluster)["n3"] != before["n3"]
    assert cluster.writes("n1", "n2", "n3")

    # The old card, with its data and its certificates, in the place of the new one.
    served.power_off("n3")
    returned = boot(cluster.built, old.node, old.root, bridge=cluster.bridge)
    cluster.machines["n3"] = returned
    returned.service.start()
    still("the old card is not let in", lambda: not answers(cluster, "n3"), seconds=WATCHED)
    assert cluster.writes("n1", "n2")


def test_replacing_is_finished_by_the_same_command_after_any_end(served: Site) -> None:
    """Kill -9 after any time: the same command again ends with one new member expected, and it joins."""
    cluster, tool = served.cluster, served.tool
    moments = (0.2 * 1.3**tries for tries in itertools.count())
    with busy(cluster.desk, "killed-", new_leader=True) as writer:
        writer.mark("n2 dies")
        served.power_off("n2")
        writer.mark("it is replaced, in many runs")
        kills = 0
        while tool.killed(after(next(moments)), "replace", "--node", "n2", "--live", "--push"):
            kills += 1
        assert kills > 0
        assert "the cluster expects it" in tool.run("replace", "--node", "n2", "--live", "--push")
        assert len(cluster.desk.members()) == 3
        writer.mark("its successor starts")
        served.power_on("n2")
        cluster.formed()

    # It has joined, and is down: the same command does not throw it out again.
    cluster.machines["n2"].service.stop()
    assert "if that is the successor, look at etcd's log" in tool.refused("replace", "--node", "n2", "--live")
    cluster.machines["n2"].service.start()
    cluster.formed()


def test_wrong_moves_are_refused_and_change_nothing(served: Site) -> None:
    """A healthy member, a stranger, and a member without which the others have no quorum."""
    cluster, tool = served.cluster, served.tool
    before, members = state(tool), ids(cluster)
    assert "n2 is healthy, and a healthy member is not replaced" in tool.refused(
        "replace", "--node", "n2", "--live"
    )
    # The same without --live, as long as the cluster can be asked.
    assert "n2 is healthy, and a healthy member is not replaced" in tool.refused("replace", "--node", "n2")
    assert "has no node n9" in tool.refused("replace", "--node", "n9", "--live")
    assert "no node is no member" in tool.refused("replace", "--live")
    served.power_off("n3")
    cluster.machines["n2"].service.stop()
    assert "no quorum of the cluster answers" in tool.refused("replace", "--node", "n3", "--live")
    assert state(tool) == before
    cluster.machines["n2"].service.start()
    until("a quorum is back", lambda: cluster.writes("n1", "n2"))
    assert ids(cluster) == members
    by_hand(served)


def by_hand(served: Site) -> None:
    """Without --live the tool says the commands, and they work as they stand."""
    said = served.tool.run("replace", "--node", "n3")
    desk = served.cluster.desk
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
    served.power_on("n3")
    served.cluster.formed()
