"""Promises of the k3s component: what it asks for, and what it bakes."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING, Any, get_args

import yaml

from nodebake.components import chosen, k3s
from nodebake.components.k3s.flags import FLAGS, OWNED, Kind
from tests.components import DEBIAN, K3S, baked, materials, plan_of, text

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.plan import Plan
    from nodebake.tree import Tree

TLS = "etc/rancher/k3s/tls"
PROGRAM, IMAGES = "usr/local/bin/k3s", "usr/local/share/nodebake/k3s-airgap-images.tar.zst"


def _plan(directory: Path, **changes: Any) -> Plan:  # noqa: ANN401 - any section
    return plan_of(directory, **{"k3s": K3S, **changes})


def _config(tree: Tree) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(text(tree, "etc/rancher/k3s/config.yaml"))
    return read


def test_without_the_section_nothing_is_asked_for(tmp_path: Path) -> None:
    """No program is fetched, no certificate issued, no authority minted and no name given."""
    plan = plan_of(tmp_path)
    assert k3s.COMPONENT not in chosen(plan)
    tree = baked(plan)
    assert not [path for path in tree if "k3s" in path]
    assert "k3s" not in text(tree, "etc/hosts")


def test_servers_have_the_datastore_and_agents_the_servers(tmp_path: Path) -> None:
    """All members of etcd, with a certificate of k3s's own; an agent knows none, and checks whom it meets."""
    plan = _plan(tmp_path)
    server, agent = _config(baked(plan, "m1")), _config(baked(plan, "m3"))
    assert [f"https://192.168.7.1{n}:2379" for n in (1, 2, 3)] == server["datastore-endpoint"].split(",")
    files = [server[f"datastore-{kind}"].lstrip("/") for kind in ("cafile", "certfile", "keyfile")]
    assert all(path in baked(plan, "m1") for path in files)
    names = {"m1", "m2.edge.example.com", "192.168.7.12", "k3s.edge.example.com", "etcd.edge.example.com"}
    assert names <= set(server["tls-san"])
    assert (["192.168.7.11"], "eth0", "m1") == (
        server["node-ip"],
        server["flannel-iface"],
        server["node-name"],
    )
    assert "https://k3s.edge.example.com:6443" == agent["server"]
    assert not [key for key in agent if key.startswith("datastore")]
    authority = baked(plan, "m1")[f"{TLS}/server-ca.crt"].content
    assert f"K10{hashlib.sha256(authority).hexdigest()}::server:{server['token']}" == agent["token"]
    assert not [path for path in baked(plan, "m3") if TLS in path or "datastore" in path]
    (leaf,) = k3s.leaves(plan, plan.node("m1"))
    assert ("k3s", ("client",)) == (leaf.common_name, leaf.usages)
    assert () == k3s.leaves(plan, plan.node("m3"))


def test_every_key_is_one_that_k3s_documents(tmp_path: Path) -> None:
    """For the role, and of its type: k3s passes over what it does not know."""
    plan = _plan(tmp_path, k3s={**K3S, "disable": ["traefik"], "settings": {"node-label": ["a=b"]}})
    types = {"string": str, "list": list, "number": int, "bool": bool}
    for name, role in plan.part(k3s.K3sPart).roles.items():
        for key, value in _config(baked(plan, name)).items():
            assert isinstance(value, types[FLAGS[key].kind])
            assert role == "server" or FLAGS[key].agents
    assert {flag.kind for flag in FLAGS.values()} == set(get_args(Kind))
    assert set(OWNED) < set(FLAGS)


def test_settings_reach_only_the_nodes_that_know_them(tmp_path: Path) -> None:
    """One list for the cluster; an agent would not take a server's."""
    settings = {"node-label": "disk=sd", "kube-apiserver-arg": ["v=2"], "debug": True, "v": 3}
    plan = _plan(tmp_path, k3s={**K3S, "settings": settings})
    server, agent = _config(baked(plan, "m1")), _config(baked(plan, "m3"))
    assert settings | {"node-label": ["disk=sd"]} == {key: server[key] for key in settings}
    assert {"node-label", "debug", "v"} == settings.keys() & agent.keys()


def test_token_is_one_for_all_servers_and_can_be_brought(tmp_path: Path) -> None:
    """From the vault, long and random; or the first line of a file, which the plan then depends on."""
    plan = _plan(tmp_path)
    first, second = (_config(baked(plan, name))["token"] for name in ("m1", "m2"))
    assert first == second
    assert len(first) == 64
    (tmp_path / "token").write_text("of-a-cluster-that-exists\n")
    plan = _plan(tmp_path, k3s={**K3S, "token_file": "token"})
    assert "of-a-cluster-that-exists" == _config(baked(plan, "m1"))["token"]
    assert tmp_path / "token" in plan.files


def test_a_node_is_known_again_after_every_boot(tmp_path: Path) -> None:
    """Its password is baked in: one made up in memory would be another at each boot, and refused."""
    plan = _plan(tmp_path)
    passwords = [text(baked(plan, name), "etc/rancher/node/password") for name in ("m1", "m2", "m3", "m1")]
    assert passwords[0] == passwords[3]
    assert len(set(passwords)) == 3
    assert all(len(one.strip()) == 32 for one in passwords)


def test_secrets_are_closed_to_others(tmp_path: Path) -> None:
    """Every key, the token and the password; agents have no authority's key at all."""
    tree = baked(_plan(tmp_path))
    secret = [path for path in tree if path.endswith((".key", "config.yaml", "node/password"))]
    assert {0o600} == {stat.S_IMODE(tree[path].mode) for path in secret if "k3s" in path or "node/" in path}
    assert len([path for path in secret if TLS in path]) == 6


def test_programs_and_images_are_what_a_format_may_put_beside_its_archive(tmp_path: Path) -> None:
    """On servers and agents, whatever their system: the same for all nodes, and no secret."""
    for plan in (_plan(tmp_path), _plan(tmp_path, **DEBIAN)):
        for name in ("m1", "m3"):
            tree = baked(plan, name)
            large = [tree[path] for path in (PROGRAM, IMAGES)]
            assert [(True, 0o755), (True, 0o644)] == [(one.shared, stat.S_IMODE(one.mode)) for one in large]
            links = {tree[f"usr/local/bin/{alias}"].content for alias in ("kubectl", "crictl", "ctr")}
            assert {b"k3s"} == links


def test_diskless_nodes_keep_what_grows_on_the_data_partition(tmp_path: Path) -> None:
    """It would fill the memory: data, and what k3s keeps elsewhere."""
    plan = _plan(tmp_path)
    tree = baked(plan)
    settings = text(tree, "etc/nodebake/k3s").splitlines()
    assert {'DATA_DIR="/data/k3s"', 'DATA_MOUNT="/data"'} <= set(settings)
    assert 'KEPT="/var/lib/kubelet /var/log/pods"' in settings
    assert "cgroup_enable=memory" in text(_whole_boot(plan), "cmdline.txt")
    assert b"/etc/init.d/k3s" == tree["etc/runlevels/default/k3s"].content
    assert b"/etc/init.d/k3s-agent" == baked(plan, "m3")["etc/runlevels/default/k3s-agent"].content


def _whole_boot(plan: Plan) -> Tree:
    from nodebake.components import board  # noqa: PLC0415 - beside k3s, and not of it

    node = plan.node("m1")
    return board.bake(plan, node, materials(plan, node)).boot


def test_other_nodes_have_the_units_of_k3ss_installer(tmp_path: Path) -> None:
    """Under its names, and with data where they are on a disk anyhow."""
    plan = _plan(tmp_path, **DEBIAN)
    tree, agent = baked(plan), baked(plan, "m3")
    server = text(tree, "etc/systemd/system/k3s.service").splitlines()
    assert {"Type=notify", "TimeoutStartSec=infinity", "KillMode=process", "Delegate=yes"} <= set(server)
    assert "After=network.target etcd.service data.mount" in server
    assert "Type=exec" in text(agent, "etc/systemd/system/k3s-agent.service").splitlines()
    assert "etc/systemd/system/multi-user.target.wants/k3s-agent.service" in agent
    assert "etc/systemd/system/k3s.service" not in agent
    assert 'KEPT=""' in text(tree, "etc/nodebake/k3s").splitlines()


def test_images_can_be_left_to_a_registry(tmp_path: Path) -> None:
    """Then nothing of them is fetched."""
    plan = _plan(tmp_path, k3s={**K3S, "airgap": False})
    assert ["k3s"] == [want.name for want in k3s.wants(plan)]
    tree = baked(plan)
    assert (True, False) == (PROGRAM in tree, IMAGES in tree)
    assert 'IMAGES=""' in text(tree, "etc/nodebake/k3s").splitlines()


def test_nodes_without_a_role_have_nothing_but_the_name(tmp_path: Path) -> None:
    """Whoever runs no k3s can still call it."""
    plan = _plan(tmp_path, k3s={**K3S, "agents": []})
    tree = baked(plan, "m3")
    assert not [path for path in tree if "k3s" in path or "rancher" in path]
    assert "192.168.7.12 k3s k3s.edge.example.com" in text(tree, "etc/hosts").splitlines()


def test_firewall_lets_containers_and_nodes_through(tmp_path: Path) -> None:
    """The API to clients, kubelet and vxlan to nodes; containers to their node, and nobody as one of them."""
    plan = _plan(tmp_path, firewall={"clients": ["192.168.7.0/24"]})
    server, agent = (text(baked(plan, name), "etc/nodebake/firewall.nft") for name in ("m1", "m3"))
    assert "ip saddr { 192.168.7.0/24 } tcp dport 6443 accept" in server
    assert "6443" not in agent
    for rules in (server, agent):
        assert 'iifname != "eth0" ip saddr { 10.42.0.0/15 } accept' in rules
        assert all(f"dport {port} accept" in rules for port in (10250, 8472))
