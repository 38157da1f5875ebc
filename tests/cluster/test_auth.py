"""Users and roles that a cluster gives itself: made once, by whoever is first, and then the operator's."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from nodebake.errors import BuildError
from tests.cluster.built import Built, bake, write_profile
from tests.cluster.desk import SERVED, Tool
from tests.cluster.site import nodes
from tests.patience import still, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.cluster.cluster import Cluster

ON = "Authentication Status: true"
WATCHED = 8  # seconds: etcd-auth tries every two
DOCUMENT: dict[str, object] = {
    "schema": 1,
    "cluster": {"name": "guarded"},
    "machine": {"os": "debian", "board": "vm", "arch": "x86_64"},
    "network": {"interface": "eth0"},
    "nodes": nodes(*SERVED),
    "etcd": {
        "auth": {
            "roles": [{"name": "app", "grants": [{"prefix": "/app/"}]}],
            "users": [{"name": "ada", "roles": ["app"]}],
        }
    },
    "outputs": ["rootfs"],
}


def test_a_cluster_makes_its_users_once(
    bench: Callable[[Built], AbstractContextManager[Cluster]], tmp_path: Path
) -> None:
    """From the first start on everybody may do what the profile says; later it is the operator who says."""
    profile = write_profile(tmp_path, "guarded", DOCUMENT)
    built = bake(profile, tmp_path)
    with bench(built) as cluster:
        tool = Tool(cluster.desk, profile, tmp_path / "vault/guarded")
        for name in SERVED:
            cluster.add(name)
        # A member that dies at any moment leaves nothing undone: the others end it, or it begins again.
        for name in SERVED[:2]:
            cluster.machines[name].service.start()
        until("somebody begins", lambda: "root" in cluster.desk.etcdctl("user", "list"), seconds=120)
        cluster.machines["n1"].service.kill()
        cluster.machines["n1"].service.start()
        cluster.machines["n3"].service.start()
        cluster.formed()
        until("users are switched on", lambda: ON in cluster.desk.etcdctl("auth", "status"))
        everybody_may_what_the_profile_says(cluster, tool)
        assert "keys, revision" in tool.run("backup", "--file", str(tmp_path / "kept.db"))
        until("every member has seen it", lambda: all(seen(cluster, name) for name in SERVED))
        a_wiped_member_is_known(cluster)
        the_operator_has_the_last_word(cluster)


def everybody_may_what_the_profile_says(cluster: Cluster, tool: Tool) -> None:
    """Root all, ada the keys of her role, a node nothing, a stranger nothing."""
    desk = cluster.desk
    tool.run("certs.operator", "--cn", "ada")
    tool.run("certs.operator", "--cn", "stranger")
    assert cluster.writes(*SERVED)
    assert may(cluster, "ada", "/app/1") is True
    assert may(cluster, "ada", "/other") is False
    assert may(cluster, "stranger", "/app/1") is False
    assert desk.etcdctl("user", "list").split() == ["ada", "n1", "n2", "n3", "root"]
    with pytest.raises(BuildError, match="permission denied"):
        cluster.machines["n1"].box.run("sh", "-c", ". /etc/profile.d/etcdctl.sh; etcdctl put /app/1 x")


def may(cluster: Cluster, operator: str, key: str) -> bool:
    """Tell whether an operator's certificate puts a key."""
    home = cluster.built.operator
    given = dict.fromkeys(("ETCDCTL_CERT", "ETCDCTL_KEY"), f"{home}/{operator}.pem")
    try:
        return cluster.desk.etcdctl("put", key, "value", env=given) == "OK\n"
    except BuildError as error:
        if "permission denied" not in str(error):
            raise
        return False


def seen(cluster: Cluster, name: str) -> bool:
    """Tell whether a member knows that users were switched on."""
    return (cluster.machines[name].root / "var/lib/etcd/auth").exists()


def a_wiped_member_is_known(cluster: Cluster) -> None:
    """A member without data asks the cluster who it is; that needs no role."""
    third = cluster.machines["n3"]
    third.service.stop()
    kept = third.root / "var/lib/kept"
    shutil.move(third.root / "var/lib/etcd", kept)
    third.service.start()
    until("it is told", lambda: "run: ./invoke replace --node n3" in third.service.log())
    third.service.stop()
    shutil.rmtree(third.root / "var/lib/etcd")
    shutil.move(kept, third.root / "var/lib/etcd")
    third.service.start()
    cluster.formed()


def the_operator_has_the_last_word(cluster: Cluster) -> None:
    """What root switches off stays off, through restarts."""
    assert "Disabled" in cluster.desk.etcdctl("auth", "disable")
    for machine in cluster.machines.values():
        machine.service.stop()
        machine.service.start()
    cluster.formed()
    still("it stays off", lambda: ON not in cluster.desk.etcdctl("auth", "status"), seconds=WATCHED)
