"""What a member without data may do: found a cluster with others like it, or join one as a new member."""

from __future__ import annotations

import json
import random
import shutil
from functools import partial
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.cluster.site import DATA
from tests.patience import still, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.cluster.built import Built
    from tests.cluster.cluster import Cluster
    from tests.cluster.machine import Machine

    Bench = Callable[[Built], AbstractContextManager[Cluster]]

WATCHED = 20  # seconds in which nothing may happen that etcd alone would do at once


@pytest.fixture
def formed(shipped: Callable[[str], Built], bench: Bench) -> Iterator[Cluster]:
    """Return a cluster of three that has been founded, with a key in it."""
    with bench(shipped("vm")) as cluster:
        cluster.start()
        cluster.formed()
        assert cluster.writes(*cluster.machines, key="kept")
        yield cluster


def wipe(machine: Machine) -> None:
    """Empty a member's data directory, as a new disk or yesterday's image does."""
    shutil.rmtree(machine.root / DATA)
    (machine.root / DATA).mkdir(mode=0o700)


def forget(machine: Machine) -> None:
    """Give it a card from before the others came: it may found alone, and its rehearsal passes at once."""
    conf, play = machine.root / "etc/nodebake/etcd", machine.root / "etc/etcd/rehearsal.yml"
    conf.write_text(conf.read_text().replace('QUORUM="2"', 'QUORUM="1"'))
    document = yaml.safe_load(play.read_text())
    own = [one for one in document["initial-cluster"].split(",") if one.startswith(f"{machine.node.name}=")]
    play.write_text(json.dumps(document | {"initial-cluster": ",".join(own)}))


def votes(machine: Machine) -> bool:
    """Tell whether etcd has made data for itself: only then it votes and acknowledges."""
    return (machine.root / DATA / "member").exists()


def test_a_wiped_member_stays_out_of_a_cluster_that_answers(formed: Cluster) -> None:
    """It is told that the cluster knows it, and what to do; the others go on."""
    first, second, third = formed.machines.values()
    third.service.stop()
    wipe(third)
    third.service.start()
    until("it says why", lambda: "run: ./invoke replace --node etcd-3" in third.service.log())
    still("it does not vote", lambda: not votes(third), seconds=WATCHED)
    assert formed.writes(first.node.name, second.node.name)


def test_a_wiped_member_stays_out_when_it_is_up_before_the_others(formed: Cluster) -> None:
    """The unsafe case: all are down, one comes back empty and first; etcd alone would take its old place."""
    machines = list(formed.machines.values())
    for machine in machines:
        machine.service.stop()
    first, second, third = machines
    wipe(third)
    third.service.start()
    still("alone it waits", lambda: not votes(third) and not third.service.crashed(), seconds=WATCHED)
    # With one other there would be a quorum of old ids, which may not have what was acknowledged.
    first.service.start()
    still("with one other it waits", lambda: not votes(third), seconds=WATCHED)
    second.service.start()
    names = [first.node.name, second.node.name]
    until("the two with data take requests", lambda: formed.writes(*names, key="later"), seconds=120)
    until("it says why", lambda: "run: ./invoke replace --node etcd-3" in third.service.log())
    assert not votes(third)
    assert formed.desk.etcdctl("get", "kept", "--print-value-only") == "bar\n"


def _refused(machine: Machine, times: int) -> bool:
    return machine.service.log().count(f"run: ./invoke replace --node {machine.node.name}") == times


def test_a_wiped_member_with_an_older_list_founds_nothing_unheard(formed: Cluster) -> None:
    """What its rehearsal says is not enough: the cluster that answers decides, after a restart as well."""
    third = formed.machines["etcd-3"]
    third.service.stop()
    wipe(third)
    forget(third)
    for times in (1, 2):
        third.service.start()
        until("it says why", partial(_refused, third, times))
        still("it does not vote", lambda: not votes(third), seconds=WATCHED)
        third.service.stop()


def test_members_that_lose_power_while_they_found_the_cluster_found_it_still(
    shipped: Callable[[str], Built], bench: Bench
) -> None:
    """Two of three, and a power cut at any moment of the first minute: the cluster comes about."""
    luck = random.Random(26)  # noqa: S311 - moments, not secrets
    with bench(shipped("vm")) as cluster:
        pair = [cluster.add(node.name) for node in cluster.built.plan.members[:2]]
        for machine in pair:
            machine.service.start()
        for _ in range(6):
            victim = luck.choice(pair)
            pause = luck.uniform(0.5, 6)
            (other,) = (machine for machine in pair if machine is not victim)
            still("the other does not crash", lambda box=other: not box.service.crashed(), seconds=pause)  # type: ignore[misc]
            victim.service.kill()
            victim.service.start()
        names = [machine.node.name for machine in pair]
        until("they take requests", lambda: cluster.writes(*names), seconds=300)
