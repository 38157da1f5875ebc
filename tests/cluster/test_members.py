"""A cluster's members changed while somebody writes: more of them, fewer, and at another address."""

from __future__ import annotations

import itertools
import json
import subprocess
from typing import TYPE_CHECKING

from tests.cluster.desk import LONGEST, SERVED, busy
from tests.cluster.site import Site, nodes
from tests.cluster.test_certificates import state
from tests.patience import after, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    Give = Callable[..., AbstractContextManager[Site]]

FIVE = ("n1", "n2", "n3", "n4", "n5")
SETTLED = "the cluster's members are those of the profile"


def listed(site: Site) -> dict[str, bool]:
    """Return the members by name, and whether each is a learner."""
    return {one["name"]: one.get("isLearner", False) for one in site.cluster.desk.members()}


def lead(site: Site, name: str) -> None:
    """Have a member lead."""
    desk = site.cluster.desk
    (number,) = (f"{one['ID']:x}" for one in desk.members() if one["name"] == name)

    def leads() -> bool:
        everybody = ",".join(desk.endpoint(each) for each in site.cluster.machines)
        desk.etcdctl("move-leader", number, env={"ETCDCTL_ENDPOINTS": everybody})
        return True

    until(f"{name} leads", leads)


def test_a_cluster_grows_and_shrinks_with_no_key_lost(site: Give) -> None:
    """Three to five, one learner after the other, and back, one of the leavers being the leader."""
    with site(SERVED) as one, busy(one.cluster.desk, "grown-", new_leader=True, members=SERVED) as writer:
        one.change(nodes=nodes(*FIVE))
        said = one.tool.run("members")
        assert "member add n4 --learner --peer-urls=https://10.78.0.14:2380" in said
        assert set(listed(one)) == set(SERVED)
        for name in ("n4", "n5"):
            one.power_on(name)
        writer.mark("three to five")
        assert SETTLED in one.tool.run("members", "--live", "--push")
        assert listed(one) == dict.fromkeys(FIVE, False)
        one.cluster.formed()
        assert one.cluster.writes("n4", "n5")
        assert "10.78.0.15" in (one.cluster.machines["n1"].root / "etc/hosts").read_text()

        lead(one, "n5")
        one.change(nodes=nodes(*SERVED))
        before = {name: machine.service.processes() for name, machine in one.cluster.machines.items()}
        writer.mark("five to three")
        assert SETTLED in one.tool.run("members", "--live", "--push")
        assert listed(one) == dict.fromkeys(SERVED, False)
        for name in ("n4", "n5"):
            one.power_off(name)
        one.cluster.formed()
        # Nobody who stays was restarted, and who left gets in no more.
        assert {name: one.cluster.machines[name].service.processes() for name in SERVED} == {
            name: before[name] for name in SERVED
        }
        told = json.loads(one.tool.run("certs", "--live", "--json"))
        assert {row["state"] for row in told["certificates"] if row["holder"] in {"n4", "n5"}} == {"revoked"}
        assert told["complaints"] == []


def test_a_member_is_changed_for_another_behind_packet_filters_and_with_users(site: Give) -> None:
    """Until the old one has left it can lead the new one; etcd knows who came later as it knows the first."""
    with site(SERVED, etcd={"version": "3.5.16", "auth": {}}, firewall={}) as one:
        desk = one.cluster.desk
        until("users are switched on", lambda: "true" in desk.etcdctl("auth", "status").splitlines()[0])
        with busy(desk, "changed-", new_leader=True, members=("n1", "n2")) as writer:
            lead(one, "n3")
            one.change(nodes=nodes("n1", "n2", "n4"))
            said = one.tool.run("members")
            assert "  etcdctl user add n4 --no-password\n" in said
            assert "root@10.78.0.13" in said  # its filter has to let the new one in
            one.power_on("n4")
            writer.mark("n4 comes, n3 leaves")
            assert SETTLED in one.tool.run("members", "--live", "--push")
            assert listed(one) == dict.fromkeys(("n1", "n2", "n4"), False)
            one.power_off("n3")
        one.cluster.formed()
        assert one.cluster.writes("n4")
        for name, machine in one.cluster.machines.items():
            own = f". /etc/profile.d/etcdctl.sh; etcdctl user get {name}"
            assert machine.box.run("sh", "-c", own).decode() == f"User: {name}\nRoles:\n"
            loaded = machine.box.run("nft", "list", "table", "inet", "nodebake").decode()
            assert ("10.78.0.13" in loaded, "10.78.0.14" in loaded) == (False, True)


def test_a_member_moves_to_another_address_with_no_key_lost(site: Give) -> None:
    """The cluster looks for it there, its certificates say so, and it brings its data along."""
    with site(SERVED) as one:
        ids = {each["name"]: each["ID"] for each in one.cluster.desk.members()}
        lead(one, "n3")
        moved = [*nodes("n1", "n2"), {"name": "n3", "address": "10.78.0.33/24"}]
        with busy(one.cluster.desk, "moved-", new_leader=True, members=("n1", "n2")) as writer:
            one.change(nodes=moved)
            writer.mark("the cluster is told")
            process = subprocess.Popen(one.tool.argv("members", "--live", "--push"))  # noqa: S603 - ours
            expected = "n3, https://10.78.0.33:2380"
            until("n3 is to be elsewhere", lambda: expected in one.cluster.desk.etcdctl("member", "list"))
            writer.mark("it moves")
            old = one.power_off("n3")
            one.power_on("n3", data_of=old.root)
            assert process.wait(timeout=LONGEST) == 0
        one.cluster.formed()
        assert {each["name"]: each["ID"] for each in one.cluster.desk.members()} == ids
        assert SETTLED in one.tool.run("members")


def test_growing_from_one_is_finished_by_the_same_command_after_any_end(site: Give) -> None:
    """Kill -9 at several moments; in the end there are three, and no acknowledged key is lost."""
    with site(["n1"]) as one:
        one.cluster.desk.etcdctl("put", "kept", "value")
        one.change(nodes=nodes(*SERVED))
        one.tool.run("members")
        for name in ("n2", "n3"):
            one.power_on(name)
        moments = (min(1.5**tries, LONGEST) for tries in itertools.count())
        kills = 0
        while one.tool.killed(after(next(moments)), "members", "--live", "--push"):
            kills += 1
        assert kills > 0
        assert SETTLED in one.tool.run("members", "--live", "--push")
        assert listed(one) == dict.fromkeys(SERVED, False)
        one.cluster.formed()
        assert one.cluster.desk.etcdctl("get", "kept", "--print-value-only") == "value\n"

        # Two of three are needed: with n3 gone, n2 stays; and nobody is renamed.
        one.power_off("n3")
        before = one.cluster.desk.members(), state(one.tool)
        one.change(nodes=nodes("n1", "n3"))
        assert "n2: without it, 1 of 2 members would be healthy" in one.tool.refused("members", "--live")
        one.change(nodes=[*nodes("n1", "n2"), {"name": "n9", "address": "10.78.0.13/24"}])
        assert "a member keeps its name" in one.tool.refused("members", "--live")
        assert (one.cluster.desk.members(), state(one.tool)) == before
