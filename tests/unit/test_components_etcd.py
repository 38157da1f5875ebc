"""Promises of the etcd component: what it decides, refuses, asks for and bakes."""

from __future__ import annotations

import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import pytest

from nodebake.components import etcd
from nodebake.components.etcd import EtcdPart
from nodebake.components.etcd.keys import KEYS, OWNED, Kind
from tests.components import DEBIAN, baked, decide, materials, plan_of, text

ROOT = Path(__file__).parents[2]


def _told(directory: Path, **changes: Any) -> str:  # noqa: ANN401 - any section
    return "\n".join(str(problem) for problem in decide(directory, **changes)[1])


def _origins(directory: Path, **changes: Any) -> dict[str, tuple[Any, str]]:  # noqa: ANN401 - any section
    settings = plan_of(directory, **changes).settings
    return {setting.path.removeprefix("etcd."): (setting.value, setting.origin) for setting in settings}


@pytest.mark.parametrize(
    ("storage", "heartbeat", "election"), [("sdcard", 500, 5000), ("ssd", 100, 1000), ("hdd", 200, 2000)]
)
def test_storage_picks_the_times(tmp_path: Path, storage: str, heartbeat: int, election: int) -> None:
    """The tuning set of the medium decides, and the plan says that it did."""
    found = _origins(tmp_path, etcd={"storage": storage})
    assert (heartbeat, f"tuning {storage}") == found["heartbeat_interval"]
    assert (election, f"tuning {storage}") == found["election_timeout"]


def test_written_value_wins_and_names_its_line(tmp_path: Path) -> None:
    """A value in the profile overrides the tuning set and is shown with its place."""
    value, origin = _origins(tmp_path, etcd={"heartbeat_interval": 300})["heartbeat_interval"]
    assert (value, "edge.yaml:" in origin) == (300, True)


def test_quota_and_memory_limit_follow_from_the_memory(tmp_path: Path) -> None:
    """A Pi 3 with 1 GiB gets a quarter for the database and three eighths for the heap."""
    found = _origins(tmp_path)
    assert found["quota_backend_bytes"][0] == 256 << 20
    assert found["memory_limit"][0] == 384 << 20
    assert found["memory_limit"][1].startswith("derived: ")


def test_member_and_client_ask_for_their_leaves(tmp_path: Path) -> None:
    """A member has server, peer and client certificates; a client node only its own."""
    nodes = [
        {"name": "m1", "address": ["192.168.7.11/24"], "names": ["box"]},
        {"name": "c1", "address": ["192.168.7.21/24"], "role": "client"},
    ]
    plan = plan_of(tmp_path, nodes=nodes)
    server, peer, client = etcd.leaves(plan, plan.node("m1"))
    assert (server.name, peer.name, client.name) == ("server", "peer", "client")
    expected = ("m1", "m1.edge.example.com", "box", "etcd", "etcd.edge.example.com", "localhost")
    assert expected == server.dns
    assert server.ips == ("192.168.7.11", "127.0.0.1", "::1")
    assert peer.usages == ("server", "client")
    (own,) = etcd.leaves(plan, plan.node("c1"))
    assert (own.common_name, own.usages) == ("c1", ("client",))


def test_client_node_gets_etcdctl_and_no_etcd(tmp_path: Path) -> None:
    """A client has its certificate and the environment of etcdctl, and nothing that serves."""
    nodes = [
        {"name": "m1", "address": ["192.168.7.11/24"]},
        {"name": "c1", "address": ["192.168.7.21/24"], "role": "client"},
    ]
    tree = baked(plan_of(tmp_path, nodes=nodes), "c1")
    assert {"usr/local/bin/etcdctl", "etc/etcd/pki/client.key", "etc/profile.d/etcdctl.sh"} <= set(tree)
    served = {"usr/local/bin/etcd", "etc/etcd/conf.yml", "etc/init.d/etcd", "etc/etcd/pki/server.key"}
    assert not served & set(tree)
    assert 'ETCDCTL_ENDPOINTS="https://192.168.7.11:2379"' in text(tree, "etc/profile.d/etcdctl.sh")


@pytest.mark.parametrize(("version", "told"), [("3.4.23", True), ("3.5.16", True), ("3.6.14", False)])
def test_etcdctl_is_told_of_an_api_where_there_are_two(version: str, told: bool, tmp_path: Path) -> None:  # noqa: FBT001 - parametrized
    """From 3.6 on it complains about the variable at every command."""
    tree = baked(plan_of(tmp_path, etcd={"version": version}))
    assert told is ("ETCDCTL_API" in text(tree, "etc/profile.d/etcdctl.sh"))


def test_keys_are_private_and_binaries_shared(tmp_path: Path) -> None:
    """Private keys are 0600 in the artefact; programs are compressed once for all nodes."""
    tree = baked(plan_of(tmp_path))
    keys = [path for path in tree if path.startswith("etc/etcd/pki/") and path.endswith(".key")]
    assert {0o600} == {stat.S_IMODE(tree[path].mode) for path in keys}
    shared = {path for path, entry in tree.items() if entry.shared}
    assert {"usr/local/bin/etcd", "usr/local/bin/etcdctl", "lib/ld-linux.so"} == shared


def test_a_target_with_glibc_asks_for_no_loader(tmp_path: Path) -> None:
    """Debian has its own loader, another one would replace it; Alpine needs it."""
    wanted = [etcd.wants(plan_of(tmp_path, **changes))[0].libc for changes in (DEBIAN, {})]
    assert ["glibc", "musl"] == wanted


def test_shared_paths_share_one_leaf(tmp_path: Path) -> None:
    """Where server, peer and client name the same files, one certificate serves them all."""
    tls = {
        name: f"/etc/kubernetes/ssl/etcd{end}.pem"
        for name, end in {
            "cert": "",
            "key": "-key",
            "peer_cert": "",
            "peer_key": "-key",
            "client_cert": "",
            "client_key": "-key",
        }.items()
    }
    plan = plan_of(tmp_path, etcd={"tls": tls | {"ca": "/etc/kubernetes/ssl/ca.pem"}})
    assert [leaf.name for leaf in etcd.leaves(plan, plan.node("m1"))] == ["server"]
    tree = baked(plan)
    assert {"ca.pem", "crl.der", "etcd.pem", "etcd-key.pem"} == {
        path.rpartition("/")[2] for path in tree if path.startswith("etc/kubernetes/ssl/")
    }
    assert 'KEYS="/etc/kubernetes/ssl/etcd-key.pem"' in text(tree, "etc/nodebake/etcd")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"version": "3.3.10"}, "etcd.version: etcd 3.3.10 is not known here; take a release of 3.4 to 3.7"),
        ({"version": "3.8.0"}, "etcd 3.8.0 is not known here"),
        (
            {"heartbeat_interval": 500, "election_timeout": 2000},
            "etcd.election_timeout: an election timeout of",
        ),
        (
            {"heartbeat_interval": 2000},
            "etcd.heartbeat_interval: an election timeout of 5000 ms is less than",
        ),
        ({"quota_backend_bytes": "2GiB"}, "2048 MiB is more than the 1024 MiB of memory"),
        ({"quota_backend_bytes": 0}, "etcd.quota_backend_bytes: 0 bytes is too little"),
        ({"memory_limit": "4GiB"}, "etcd.memory_limit: 4096 MiB is more than"),
        ({"peer_port": 2379}, "etcd.peer_port: 2379 is already client_port"),
        ({"metrics_port": 80}, "etcd.metrics_port: 80 needs root"),
        ({"wal_dir": "/data/etcd"}, "etcd.wal_dir: /data/etcd is where etcd keeps other data"),
        ({"wal_dir": "/data/etcd/member/wal"}, "etcd.wal_dir: /data/etcd/member/wal is where"),
        ({"wal_dir": "/data"}, "etcd.wal_dir: data_dir /data/etcd lies in it"),
        ({"wal_device": "LABEL=DATA"}, "etcd.wal_device: LABEL=DATA is the data partition"),
        ({"wal_device": "PARTUUID=1-1"}, "etcd.wal_device: PARTUUID=1-1 is a name that Alpine's"),
        ({"wal_device": "LABEL=WAL", "wal_dir": "/wal"}, "etcd.wal_dir: /wal is no directory below a mount"),
        (
            {"wal_device": "LABEL=WAL", "wal_dir": "/data/wal/etcd"},
            "etcd.wal_dir: /data/wal/etcd lies on the data",
        ),
        ({"data_dir": "/run/etcd"}, "etcd.data_dir: a service cannot keep anything in /run"),
        (
            {"auto_compaction_mode": "revision", "auto_compaction_retention": "1h"},
            "etcd.auto_compaction_retention: '1h' is a time",
        ),
        (
            {"tls": {"peer_cert": "/etc/etcd/pki/server.crt"}},
            "etcd.tls.peer_cert: /etc/etcd/pki/server.crt is already",
        ),
        ({"tls": {"key": "/etc/etcd/pki/ca.crt"}}, "etcd.tls.key: /etc/etcd/pki/ca.crt is already ca"),
        ({"max_request_bytes": "512MiB"}, "etcd.max_request_bytes: a request may be larger"),
    ],
)
def test_what_etcd_would_trip_over_is_refused_at_its_line(
    tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    """Every rule of etcd and its host is checked before anything is written."""
    told = _told(tmp_path, etcd=change)
    assert expected in told
    assert "edge.yaml:" in told


@pytest.mark.parametrize(
    ("version", "setting", "expected"),
    [
        ("3.5.16", {"quota-backend-byte": 1}, "did you mean quota-backend-bytes?"),
        ("3.5.16", {"max_wals": 1}, "did you mean max-wals?"),
        ("3.6.4", {"enable-v2": True}, "etcd dropped this in 3.6 and would ignore it; remove it"),
        ("3.6.4", {"proxy": "on"}, "etcd dropped this in 3.6"),
        ("3.5.16", {"proxy": "on"}, "nodebake decides this one"),
        (
            "3.7.1",
            {"experimental-corrupt-check-time": 1},
            "dropped this in 3.7 and would ignore it; write corrupt-check-time",
        ),
        ("3.7.1", {"experimental-initial-corrupt-check": True}, "look whether feature-gates has it now"),
        ("3.5.16", {"corrupt-check-time": 1}, "etcd has this since 3.6.0; take a newer etcd.version"),
        ("3.5.3", {"max-concurrent-streams": 1}, "etcd has this since 3.5.5"),
        (
            "3.6.4",
            {"experimental-initial-corrupt-check": True},
            "does not start with both this and the feature gate",
        ),
        ("3.5.16", {"name": "x"}, "nodebake writes this one itself, from nodes[].name"),
        ("3.5.16", {"client-transport-security": "x"}, "nodebake writes this one itself, from etcd.tls"),
        ("3.5.16", {"unsafe-no-fsync": True}, "the cluster depends on it"),
        ("3.5.16", {"grpc-keepalive-timeout": "20s"}, "a whole number of nanoseconds; write 20000000000"),
        ("3.5.16", {"max-wals": "5"}, "must be a whole number"),
        ("3.5.16", {"max-wals": True}, "must be a whole number"),
        ("3.5.16", {"pre-vote": "yes"}, "must be true or false"),
        ("3.5.16", {"metrics": 1}, "must be text; put it in quotes"),
    ],
)
def test_setting_that_this_release_would_not_take_is_refused(
    tmp_path: Path, version: str, setting: dict[str, Any], expected: str
) -> None:
    """Names and types of raw settings are checked, for etcd itself ignores what it does not know."""
    told = _told(tmp_path, etcd={"version": version, "settings": setting})
    assert expected in told
    assert f"etcd.settings.{next(iter(setting))}" in told


def test_every_kind_in_the_table_of_keys_is_known() -> None:
    """The table of etcd's keys uses only the types that are checked, and owned keys are keys."""
    assert {key.kind for key in KEYS.values()} <= set(get_args(Kind))
    assert len(KEYS) > 100
    sections = {"client-transport-security", "peer-transport-security", "cert-file", "key-file"}
    assert set(OWNED) - set(KEYS) <= sections | {"trusted-ca-file", "client-cert-auth", "auto-tls"}


def test_data_outside_the_partition_is_a_warning(tmp_path: Path) -> None:
    """A data directory that the partition does not hold is allowed, and said."""
    plan = plan_of(tmp_path, etcd={"data_dir": "/srv/etcd"})
    assert any("not on the data partition" in warning for warning in plan.warnings)
    assert plan.part(EtcdPart).data_mount == ""


def test_old_etcd_is_told_to_run_on_a_pi(tmp_path: Path) -> None:
    """Up to 3.4 etcd ends at once on aarch64 unless it is asked to stay."""
    line = 'export ETCD_UNSUPPORTED_ARCH="arm64"'
    assert line in text(baked(plan_of(tmp_path, etcd={"version": "3.4.23"})), "etc/conf.d/etcd")
    assert line not in text(baked(plan_of(tmp_path)), "etc/conf.d/etcd")


def test_part_can_be_printed(tmp_path: Path) -> None:
    """What is decided goes into the plan's JSON as it is, and holds no secret."""
    assert "token" not in str(asdict(plan_of(tmp_path).part(EtcdPart)))


def test_log_on_a_device_of_its_own_is_mounted_first(tmp_path: Path) -> None:
    """With wal_device members mount it as they do their data, and etcd does not start without it."""
    nodes = [
        {"name": "m1", "address": ["10.0.0.1/24"]},
        {"name": "c1", "address": ["10.0.0.2/24"], "role": "client"},
    ]
    plan = plan_of(
        tmp_path, etcd={"wal_device": "LABEL=WAL"}, nodes=nodes, network={"gateway": [], "nameservers": []}
    )
    member, client = (baked(plan, name) for name in ("m1", "c1"))
    assert 'wal-dir: "/wal/etcd/wal"' in text(member, "etc/etcd/conf.yml")
    assert {'WAL_MOUNT="/wal"', 'WAL_DEVICE="LABEL=WAL"'} <= set(
        text(member, "etc/nodebake/etcd").splitlines()
    )
    service = text(member, "etc/conf.d/nodebake-data.wal").splitlines()
    assert {'data_device="LABEL=WAL"', 'data_mountpoint="/wal"', 'data_logs=""'} <= set(service)
    assert member["etc/init.d/nodebake-data.wal"].content == b"nodebake-data"
    assert member["etc/runlevels/boot/nodebake-data.wal"].content == b"/etc/init.d/nodebake-data.wal"
    assert (
        "LABEL=WAL /wal ext4 noatime,errors=remount-ro,noauto 0 0" in text(member, "etc/fstab").splitlines()
    )
    assert not [path for path in client if "data.wal" in path]


def test_log_on_a_device_of_its_own_is_a_unit(tmp_path: Path) -> None:
    """With systemd it is a mount unit that etcd is ordered after, with or without a data partition."""
    changes = DEBIAN | {"machine": DEBIAN["machine"] | {"data": None}}
    plan = plan_of(tmp_path, **changes, etcd={"wal_device": "/dev/vdb", "wal_dir": "/srv/log/etcd"})
    tree = baked(plan)
    assert {"What=/dev/vdb", "Where=/srv/log"} <= set(
        text(tree, "etc/systemd/system/srv-log.mount").splitlines()
    )
    assert "etc/systemd/system/multi-user.target.wants/srv-log.mount" in tree
    unit = text(tree, "etc/systemd/system/etcd.service").splitlines()
    assert {"Wants=srv-log.mount", "After=network.target nodebake-accounts.service srv-log.mount"} <= set(
        unit
    )
    assert "etc/e2fsck.conf" in tree


@pytest.mark.parametrize(("version", "tools"), [("3.5.16", set()), ("3.6.4", {"etcdutl"})])
def test_a_member_that_restores_has_the_program_for_it(version: str, tools: set[str], tmp_path: Path) -> None:
    """From 3.6 on that is one of its own; who has no snapshot does without it."""
    plan = plan_of(tmp_path, etcd={"version": version})
    node = plan.node("m1")
    plain = materials(plan, node)
    there = set(etcd.bake(plan, node, plain).root)
    more = set(etcd.bake(plan, node, replace(plain, snapshot=b"data")).root) - there
    assert {f"usr/local/bin/{name}" for name in tools} | {"var/lib/nodebake/snapshot.db"} <= more
    assert len([path for path in more if "/bin/" in path]) == len(tools)
