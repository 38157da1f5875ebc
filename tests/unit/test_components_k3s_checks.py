"""What k3s, its nodes or the etcd under it would trip over is refused at its own line, all of it at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.components import DEBIAN, K3S, decide, plan_of

if TYPE_CHECKING:
    from pathlib import Path


def _told(directory: Path, **changes: Any) -> list[str]:  # noqa: ANN401 - any section
    problems = decide(directory, **{"k3s": K3S, **changes})[1]
    assert all(re.search(r":[0-9]+$", problem.where) for problem in problems)
    return [str(problem).partition(": ")[2] for problem in problems]


def _k3s(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any value
    return {"k3s": {**K3S, **changes}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (_k3s(servers=["m1", "n2"]), "k3s.servers[1]: there is no node n2; the nodes are"),
        (_k3s(agents=["worker"]), "k3s.agents[0]: there is no node worker; the nodes are m1, m2, m3"),
        (_k3s(agents=["m1"]), "k3s.agents[0]: m1 is already among servers; name it once"),
        (
            _k3s(version="v1.27.1+k3s1"),
            "k3s.version: k3s v1.27.1+k3s1 is not known here; take a release of v1.28",
        ),
        (
            {**_k3s(version="v1.35.6+k3s1"), "etcd": {"version": "3.5.16"}},
            "k3s.version: k3s v1.35.6+k3s1 is not served by etcd 3.5.16; take etcd 3.5.24 to 3.6",
        ),
        (
            {"etcd": {"max_request_bytes": 1048576}},
            "etcd.max_request_bytes: 1048576 bytes are too few for the",
        ),
        ({"etcd": {"quota_backend_bytes": "64MiB"}}, "etcd.quota_backend_bytes: 64 MiB are too few for k3s"),
        (
            {"etcd": {"auto_compaction_retention": "5m"}},
            "etcd.auto_compaction_retention: k3s goes on reading a list for five minutes",
        ),
        (
            {"etcd": {"auto_compaction_mode": "revision", "auto_compaction_retention": "500"}},
            "etcd.auto_compaction_retention: k3s reads lists in pieces, and 500 revisions are soon past",
        ),
        ({"flannel": {}}, "flannel: k3s brings flannel along, and two of them would want the same interface"),
        (
            _k3s(cluster_cidr="192.168.0.0/16"),
            "k3s.cluster_cidr: 192.168.0.0/16 overlaps 192.168.7.0/24, which the nodes are in",
        ),
        (
            _k3s(service_cidr="10.42.128.0/20"),
            "k3s.service_cidr: 10.42.128.0/20 overlaps 10.42.0.0/16, the containers' network",
        ),
        (_k3s(cluster_cidr="10.42.0.0/23"), "k3s.cluster_cidr: 10.42.0.0/23 has no /24 for each of 3 nodes"),
        (_k3s(cluster_cidr="10.42.0.0/25"), "k3s.cluster_cidr: 10.42.0.0/25 has no /24 for each of 3 nodes"),
        (
            _k3s(service_cidr="10.0.0.0/8", cluster_cidr="172.16.0.0/16"),
            "k3s.service_cidr: 10.0.0.0/8 is not of a",
        ),
        (
            {"network": {"nameservers": ["10.43.0.10"]}},
            "k3s.service_cidr: 10.43.0.0/16 has the name server 10.43.0.10 in it",
        ),
        (
            {"network": {"interface": "en*"}, **DEBIAN},
            "network.interface: 'en*' is a pattern, and k3s wants to know the very",
        ),
        ({"machine": {"data": None}}, "machine: the root of Alpine from an overlay is memory"),
        (
            {"k3s": {**K3S, "token_file": "key.txt"}},
            "k3s.token_file: key.txt cannot be read: No such file or directory",
        ),
        (
            _k3s(settings={"nod-label": "a=b"}),
            "k3s.settings.nod-label: k3s has no such setting; did you mean node-",
        ),
        (
            _k3s(settings={"node_label": "a=b"}),
            "k3s.settings.node_label: k3s has no such setting; did you mean",
        ),
        (
            _k3s(settings={"token": "abc"}),
            "k3s.settings.token: nodebake writes this one itself, from k3s.token_file; remove it here",
        ),
        (
            _k3s(settings={"cluster-init": True}),
            "k3s.settings.cluster-init: this is for an etcd inside of k3s, and yours is beside it",
        ),
        (_k3s(settings={"bind-address": "::"}), "k3s.settings.bind-address: nodebake decides this one"),
        (_k3s(settings={"debug": "yes"}), "k3s.settings.debug: must be true or false"),
        (_k3s(settings={"v": "2"}), "k3s.settings.v: must be a whole number"),
        (_k3s(settings={"log": ["a", "b"]}), "k3s.settings.log: is one value, not a list"),
        (_k3s(settings={"node-label": [1]}), "k3s.settings.node-label: must be text"),
    ],
)
def test_what_k3s_would_trip_over_is_refused(tmp_path: Path, changes: Any, expected: str) -> None:  # noqa: ANN401
    """Each with its key and line, before anything is built."""
    (told,) = _told(tmp_path, **changes)
    assert told.startswith(expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"too-short\n", "the token in token is too short: who guesses it is an administrator"),
        (b"\n", "token has no token that k3s takes"),
        (b"K10aa::server:0123456789abcdef\n", "token has no token that k3s takes"),
        (b"\xff\xfe\x00\x00", "token cannot be read: it is not text"),
    ],
)
def test_a_token_that_k3s_would_not_take_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    """A long token belongs to a cluster with other authorities; a short one can be guessed."""
    (tmp_path / "token").write_bytes(content)
    (told,) = _told(tmp_path, **_k3s(token_file="token"))  # noqa: S106 - a file's name
    assert told.startswith(f"k3s.token_file: {expected}")


def test_a_node_without_ipv4_or_with_the_servers_name_is_refused(tmp_path: Path) -> None:
    """Both at once, each at its own line."""
    nodes = [
        {"name": "m1", "address": ["fd00:7::11/64", "192.168.7.11/24"]},
        {"name": "k3s", "address": ["fd00:7::12/64"]},
    ]
    told = _told(tmp_path, nodes=nodes, network={"gateway": []}, **_k3s(servers=["m1"], agents=["k3s"]))
    name, address = told
    assert name.startswith("nodes[1].name: k3s has a name that stands for any server of k3s")
    assert address.startswith("nodes[1].address: k3s has no IPv4 address")


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    """Nobody corrects a profile line by line."""
    told = _told(
        tmp_path,
        etcd={"quota_backend_bytes": "64MiB"},
        **_k3s(servers=["m9"], cluster_cidr="192.168.0.0/16", settings={"bogus": 1, "debug": 1}),
    )
    keys = [one.split(":")[0] for one in told]
    assert {
        "k3s.servers[0]",
        "etcd.quota_backend_bytes",
        "k3s.cluster_cidr",
        "k3s.settings.bogus",
        "k3s.settings.debug",
    } == set(keys)


def test_little_memory_and_a_missing_controller_are_warned_of(tmp_path: Path) -> None:
    """It runs on them, and not as well as one may think."""
    small = plan_of(tmp_path, k3s=K3S).warnings
    assert any("k3s asks for 2048 MiB of memory, and these machines have 1024" in one for one in small)
    machine = {"os": "debian", "board": "rpi4"}
    pi = plan_of(tmp_path, k3s=K3S, **{**DEBIAN, "machine": machine}).warnings
    assert any("cgroup_enable=memory" in one for one in pi)
    assert not any("cgroup_enable" in one for one in small)
