"""The hand-made ways this replaces: every setting of five texts is in what we build, or there is a reason.

A row is one setting as a seed has it. With a reason it must differ from ours, without one it must be
found: a reason that is out of date fails as surely as a setting that got lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.cluster.facts import Facts, facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.built import Built

PLAIN = "no client listener without TLS, not even on the loopback interface; /health is on the metrics port"
DERIVED = "derived from the vault: a shared default lets nodes of two clusters meet"
SWITCH = "a member starts without a switch, and binds to its address before that is there"
FLAGS = "etcd ignores every variable and flag beside a configuration file"
WORK = "the directory is made by ExecStartPre, and systemd would enter it before"
OWN = "a certificate is one node's: a stolen key must not open the others' names"
PERSON = "the common name is the node's: etcd's RBAC and its logs tell nodes apart"
OLD = "no longer maintained; data and clients of it are those of 3.5"
PLACE = "/usr/lib is for the distribution's packages; what is laid over a system goes to /etc"
SAFE = "not ours to turn off: the ports are the profile's, and etcd runs with both"
DOCS = "moved to etcd.io"
RAM = "Alpine runs from memory here; data lies on the partition that outlives a reboot"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting of a seed.

    Attributes:
        fact: what it is about, a key of `facts`.
        said: its value in the seed; of a set, the part that the seed names.
        reason: why ours differs; empty when it must not.
        node: whose it is, by its place in the profile.
    """

    fact: str
    said: object
    reason: str = ""
    node: int = 0


def _members(names: list[str], ips: list[str]) -> list[Row]:
    """Return the rows of every seed: names, addresses, ports and the list of members on each node."""
    urls = {f"{name}=https://{ip}:2380" for name, ip in zip(names, ips, strict=True)}
    rows = []
    for node, (name, ip) in enumerate(zip(names, ips, strict=True)):
        rows += [
            Row("conf name", name, node=node),
            Row("conf listen-peer-urls", {f"https://{ip}:2380"}, node=node),
            Row("conf listen-client-urls", {f"https://{ip}:2379"}, node=node),
            Row("conf initial-advertise-peer-urls", f"https://{ip}:2380", node=node),
            Row("conf advertise-client-urls", {f"https://{ip}:2379"}, node=node),
            Row("conf initial-cluster", urls, node=node),
            Row("server names", {ip}, node=node),
            Row("peer names", {ip}, node=node),
        ]
    return [*rows, Row("conf initial-cluster-state", "new")]


def _paths(cert: str, key: str, ca: str) -> list[Row]:
    """Return the rows of a seed with one certificate for server, peer and etcdctl."""
    rows = [Row(f"conf {one}-transport-security.cert-file", cert) for one in ("client", "peer")]
    rows += [Row(f"conf {one}-transport-security.key-file", key) for one in ("client", "peer")]
    rows += [Row(f"conf {one}-transport-security.trusted-ca-file", ca) for one in ("client", "peer")]
    etcdctl = {"ETCDCTL_CERT": cert, "ETCDCTL_KEY": key, "ETCDCTL_CACERT": ca}
    return rows + [Row(f"profile {name}", path) for name, path in etcdctl.items()]


def _subject(state: str, locality: str) -> list[Row]:
    parts = {"C=CN", f"ST={state}", f"L={locality}", "O=k8s", "OU=System"}
    return [Row("server subject", parts), Row("server subject", {"CN=etcd"}, PERSON)]


UNIT = [
    Row("unit Type", "notify"),
    Row("unit After", {"network.target"}),
    Row("unit WantedBy", {"multi-user.target"}),
    Row("files", {"etc/systemd/system/multi-user.target.wants/etcd.service"}),
    Row("files", {"usr/lib/systemd/system/etcd.service"}, PLACE),
]
ONLINE = [
    Row("unit After", {"network-online.target"}, SWITCH),
    Row("unit Wants", {"network-online.target"}, SWITCH),
    Row("unit Documentation", {"https://github.com/coreos"}, DOCS),
]
CFSSL = [
    Row("server key", "rsa 2048"),
    Row("peer key", "rsa 2048"),
    Row("ca key", "rsa 2048"),
    Row("server usages", {"digitalSignature", "keyEncipherment", "serverAuth", "clientAuth"}),
    Row("peer usages", {"serverAuth", "clientAuth"}),
]
LOCAL = Row("server names", {"127.0.0.1"})
KUBERNETES = "/etc/kubernetes/ssl"
THREE = ["192.168.1.1", "192.168.1.2", "192.168.1.3"]
HTTPS_THREE = {f"https://{ip}:2379" for ip in THREE}

FLANNEL = [
    Row("files", {"opt/k8s/bin/flanneld"}),
    Row("files", {"opt/k8s/bin/mk-docker-opts.sh"}, "a script of ours writes the same file, byte by byte"),
    Row("flannel CONFIG", {"Network": "172.30.0.0/16", "SubnetLen": 21, "Backend": {"Type": "vxlan"}}),
    Row("flannel PREFIX", "/kubernetes/network"),
    Row("flannel ENDPOINTS", {f"https://192.168.27.{n}:2379" for n in (133, 134, 135)}),
    Row("flannel CA", "/etc/kubernetes/cert/ca.pem"),
    Row("flannel CERT", "/etc/flanneld/cert/flanneld.pem"),
    Row("flannel KEY", "/etc/flanneld/cert/flanneld-key.pem"),
    Row("flannel key", "rsa 2048"),
    Row("flannel usages", {"clientAuth"}),
    Row("flannel flags", {"--etcd-cafile", "--etcd-certfile", "--etcd-keyfile", "--etcd-endpoints"}),
    Row("flannel flags", {"--etcd-prefix", "--iface", "--ip-masq"}),
    Row("flannel unit Type", "notify"),
    Row("flannel unit Restart", "always"),
    Row("flannel unit RestartSec", "5"),
    Row("flannel unit StartLimitIntervalSec", "0"),
    Row("flannel unit After", {"network.target", "etcd.service"}),
    Row("flannel unit After", {"network-online.target"}, SWITCH),
    Row("flannel unit Before", {"docker.service"}),
    Row("flannel unit WantedBy", {"multi-user.target"}),
    Row("flannel unit RequiredBy", {"docker.service"}),
    Row("files", {"etc/systemd/system/docker.service.requires/flanneld.service"}),
    Row("flannel unit ExecStart", "/opt/k8s/bin/flanneld", "a script first puts the network into etcd, once"),
]

SEEDS = {
    "manual-k8s": [
        *_members(["etcd0", "etcd1", "etcd2"], THREE),
        *_paths(f"{KUBERNETES}/etcd.pem", f"{KUBERNETES}/etcd-key.pem", f"{KUBERNETES}/ca.pem"),
        *(*UNIT, *ONLINE, *CFSSL, LOCAL, *_subject("JiangSu", "NanTong")),
        Row("conf data-dir", "/var/lib/etcd"),
        Row("conf listen-client-urls", {"http://127.0.0.1:2379"}, PLAIN),
        Row("conf initial-cluster-token", "etcd-cluster", DERIVED),
        Row("files", {"usr/local/bin/etcd", "usr/local/bin/etcdctl"}),
        Row("files", {"etc/etcd/etcd.conf"}, FLAGS),
        Row("unit EnvironmentFile", "-/etc/etcd/etcd.conf", FLAGS),
        Row("unit WorkingDirectory", "/var/lib/etcd/", WORK),
        Row("unit Restart", "on-failure", "a member that ended, however, is one that is missing: always"),
        Row("unit RestartSec", "5"),
        Row("unit LimitNOFILE", "65536"),
        Row("server names", set(THREE[1:]), OWN),
        Row("server days", 3650),
        Row("ca days", 3650),
        Row("ca subject", {"CN=kubernetes", "C=CN", "ST=JiangSu", "L=NanTong", "O=k8s", "OU=System"}),
        Row("profile ETCDCTL_ENDPOINTS", HTTPS_THREE),
        Row("etcd version", "3.4.3", OLD),
    ],
    "systemd-tls": [
        *_members(["etcd1", "etcd2", "etcd3"], ["172.19.184.7", "172.19.184.8", "172.19.184.9"]),
        *_paths("/etc/etcd/server.crt", "/etc/etcd/server.key", "/etc/etcd/etcd-ca.crt"),
        *(*UNIT, *CFSSL),
        Row("hosts", {"172.19.184.7 etcd1", "172.19.184.8 etcd2", "172.19.184.9 etcd3"}),
        Row("hostname", "etcd1"),
        Row("files", {"etc/selinux/config"}, SAFE),
        Row("files", {"etc/systemd/system/firewalld.service"}, SAFE),
        Row("conf data-dir", "/data/etcd"),
        Row("conf peer-transport-security.client-cert-auth", said=True),
        Row("conf initial-cluster-token", "etcd-cluster", DERIVED),
        Row(
            "conf initial-cluster",
            {"etcd1=https:/172.19.184.7:2380"},
            "a slip of the seed's second node: one slash is no URL",
            node=1,
        ),
        Row("files", {"usr/local/bin/etcd", "usr/local/bin/etcdctl"}),
        Row(
            "files", {"usr/local/bin/etcdutl"}, "etcdctl 3.5 does all that it does, and a node never needs it"
        ),
        Row("files", {"etc/etcd/etcd.conf"}, FLAGS),
        Row("unit EnvironmentFile", "/etc/etcd/etcd.conf", FLAGS),
        Row("unit Restart", "always"),
        Row("unit RestartSec", "10"),
        Row("unit LimitNOFILE", "40000"),
        Row("unit Documentation", {"https://github.com/etcd-io/etcd"}, DOCS),
        Row("server subject", {"CN=etcd1"}),
        Row("server subject", {"CN=etcd3"}, node=2),
        Row("server names", {"etcd1"}),
        Row("server names", {"etcd2"}, node=1),
        Row("ca subject", {"CN=CA"}),
        Row("server days", 1825),
        Row(
            "server days",
            10000,
            "the openssl variant's 27 years outlive every CA; the cfssl variant's are taken",
        ),
        Row("server names", {"etcd2", "etcd3", "172.19.184.8", "172.19.184.9"}, OWN),
        Row("server key mode", "0600"),
        Row("etcd version", "3.5.0", "3.5.0 to 3.5.2 can lose data; a later 3.5 is taken"),
    ],
    "kubeasz": [
        *_members(["etcd-1", "etcd-2", "etcd-3"], THREE),
        *_paths(f"{KUBERNETES}/etcd.pem", f"{KUBERNETES}/etcd-key.pem", f"{KUBERNETES}/ca.pem"),
        *(*UNIT, *ONLINE, *CFSSL, LOCAL, *_subject("HangZhou", "XS")),
        Row(
            "conf name",
            "etcd-192.168.1.1",
            "the member's name is the host's, and a label has no dots (RFC 1123)",
        ),
        Row("conf listen-client-urls", {"http://127.0.0.1:2379"}, PLAIN),
        Row("conf initial-cluster-token", "etcd-cluster-0", DERIVED),
        Row("conf data-dir", "/var/lib/etcd"),
        Row("conf wal-dir", "/var/lib/etcd-wal/wal"),
        Row("conf snapshot-count", 50000),
        Row("compaction", "periodic 1h"),
        Row("conf max-request-bytes", 10485760),
        Row("conf quota-backend-bytes", 8589934592),
        Row("unit WorkingDirectory", "/var/lib/etcd", WORK),
        Row("unit Restart", "always"),
        Row("unit RestartSec", "15"),
        Row("unit LimitNOFILE", "65536"),
        Row("unit OOMScoreAdjust", "-999"),
        Row("server names", set(THREE[1:]), OWN),
        Row("profile ETCDCTL_API", "3"),
        Row("profile ETCDCTL_ENDPOINTS", HTTPS_THREE),
    ],
    "pi3": [
        *_members(["x-k3s-m-1", "x-k3s-m-2", "x-k3s-m-3"], ["192.168.7.11", "192.168.7.12", "192.168.7.13"]),
        Row("hostname", "x-k3s-m-1"),
        Row("files", {"etc/etcd/conf.yml", "etc/conf.d/etcd", "etc/init.d/etcd"}),
        Row("files", {"etc/runlevels/default/etcd"}),
        Row("files", {"usr/local/bin/etcd", "usr/local/bin/etcdctl"}),
        Row("conf.d etcd_config", "/etc/etcd/conf.yml"),
        Row("init.d supervisor", "supervise-daemon"),
        Row("conf data-dir", "/var/lib/etcd", RAM),
        Row(
            "files",
            {"etc/etcd/x-k3s-m-1.pem"},
            "the same path on every node, so that nodes differ in content only",
        ),
        Row("files", {"etc/etcd/pki/server.crt", "etc/etcd/pki/client.crt", "etc/etcd/pki/ca.crt"}),
        Row("ca days", 3650),
        Row("server days", 3650),
        Row("server usages", {"serverAuth", "clientAuth"}),
        Row("peer usages", {"serverAuth", "clientAuth"}),
        Row("server names", {"x-k3s-m-1", "x-k3s-m-1.edge.example.com", "etcd.edge.example.com"}),
        Row("server names", {"etcd.edge.huatai.me"}, "somebody's own domain; the profile has an example's"),
        Row("profile ETCDCTL_ENDPOINTS", {f"https://192.168.7.1{n}:2379" for n in (1, 2, 3)}),
        Row("profile ETCDCTL_CERT", "/etc/etcd/pki/client.crt"),
        Row("files", {"etc/profile"}, "the system's own file; /etc/profile.d is read by it"),
        Row("etcd version", "3.5.2", "3.5.0 to 3.5.2 can lose data; a later 3.5 is taken"),
    ],
    "flannel": [
        *_members(["master", "node1", "node2"], ["192.168.27.135", "192.168.27.133", "192.168.27.134"]),
        *_paths("/etc/etcd/cert/etcd.pem", "/etc/etcd/cert/etcd-key.pem", "/etc/kubernetes/cert/ca.pem"),
        *(*UNIT, *CFSSL, LOCAL),
        Row("files", {"opt/k8s/bin/etcd", "opt/k8s/bin/etcdctl"}),
        Row("unit ExecStart", "/usr/local/lib/nodebake/etcd-run /opt/k8s/bin/etcd /etc/etcd/conf.yml"),
        Row("conf data-dir", "/data/k8s/etcd/data"),
        Row("conf wal-dir", "/data/k8s/etcd/wal/wal"),
        Row("unit WorkingDirectory", "/data/k8s/etcd/data", WORK),
        Row("server names", {"192.168.27.133", "192.168.27.134"}, OWN),
        Row(
            "conf enable-v2",
            said=True,
            reason="flannel speaks the v3 API from 0.18 on, and etcd 3.6 has no other",
        ),
        Row("profile ETCDCTL_API", "3"),
        Row("etcd version", "3.3.10", OLD),
        *FLANNEL,
    ],
}
ROWS = [(profile, row) for profile, rows in SEEDS.items() for row in rows]


@pytest.fixture(scope="module")
def node_facts(
    shipped: Callable[[str], Built], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], Facts]:
    """Return a function that reads a shipped profile's node, each once."""
    known: dict[tuple[str, int], Facts] = {}

    def read(profile: str, node: int) -> Facts:
        if (profile, node) not in known:
            built = shipped(profile)
            name = built.plan.members[node].name
            known[profile, node] = facts(built, name, tmp_path_factory.mktemp(name))
        return known[profile, node]

    return read


@pytest.mark.parametrize(
    ("profile", "row"), ROWS, ids=[f"{profile}-{row.node}-{row.fact}" for profile, row in ROWS]
)
def test_setting_is_in_what_we_build_or_there_is_a_reason(
    profile: str, row: Row, node_facts: Callable[[str, int], Facts]
) -> None:
    """Each setting of a seed is found in the built files, parsed, or differs for the reason given."""
    found = node_facts(profile, row.node).get(row.fact)
    same = row.said <= found if isinstance(row.said, set) and isinstance(found, set) else row.said == found
    if row.reason:
        assert not same, f"ours does not differ any more, so the reason is out of date: {row.reason}"
    else:
        assert same, f"{row.fact}: the seed has {row.said}, ours {found}, and no reason is given"


@pytest.mark.parametrize("profile", SEEDS)
def test_facts_that_rows_name_exist(profile: str, node_facts: Callable[[str, int], Facts]) -> None:
    """A row without a reason names a fact that was read; a misspelt one would else hide a setting."""
    known = node_facts(profile, 0)
    assert [row.fact for row in SEEDS[profile] if not row.reason and row.fact not in known] == []
