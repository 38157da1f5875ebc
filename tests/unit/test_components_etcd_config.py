"""Promises of etcd's configuration file, read back by another YAML reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.components import baked, plan_of, text

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = ("3.4.23", "3.4.37", "3.5.3", "3.5.16", "3.6.4", "3.7.1")


def _conf(directory: Path, name: str = "m1", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any section
    conf: dict[str, Any] = yaml.safe_load(
        text(baked(plan_of(directory, **changes), name), "etc/etcd/conf.yml")
    )
    return conf


@pytest.mark.parametrize("version", VERSIONS)
def test_every_value_has_the_type_that_etcd_insists_on(tmp_path: Path, version: str) -> None:
    """Numbers are numbers, URL lists are one string, logs are a list, and the retention is text."""
    conf = _conf(tmp_path, etcd={"version": version})
    expected = {
        "name": "m1",
        "data-dir": "/data/etcd",
        "heartbeat-interval": 500,
        "election-timeout": 5000,
        "quota-backend-bytes": 256 << 20,
        "snapshot-count": 10_000,
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "1h",
        "log-outputs": ["stderr"],
        "strict-reconfig-check": True,
        "initial-cluster-state": "new",
        "initial-cluster": ",".join(f"m{n}=https://192.168.7.1{n}:2380" for n in (1, 2, 3)),
        "initial-cluster-token": "edge-0123456789abcdef",
        "listen-client-urls": "https://192.168.7.11:2379,https://127.0.0.1:2379",
        "listen-metrics-urls": "http://127.0.0.1:2381",
        "initial-advertise-peer-urls": "https://192.168.7.11:2380",
    }
    assert expected == {key: conf.get(key) for key in expected}
    assert all(type(conf[key]) is type(value) for key, value in expected.items())


@pytest.mark.parametrize(
    ("version", "present"),
    [
        ("3.4.23", {"experimental-initial-corrupt-check", "enable-v2"}),
        ("3.4.37", {"experimental-initial-corrupt-check", "enable-v2", "tls-min-version"}),
        ("3.5.3", {"experimental-initial-corrupt-check", "enable-v2"}),
        ("3.5.16", {"experimental-initial-corrupt-check", "enable-v2", "tls-min-version"}),
        ("3.6.4", {"feature-gates", "tls-min-version"}),
        ("3.7.1", {"feature-gates", "tls-min-version"}),
    ],
)
def test_each_release_gets_only_keys_that_it_reads(tmp_path: Path, version: str, present: set[str]) -> None:
    """A key of another release would be ignored without a word."""
    conf = _conf(tmp_path, etcd={"version": version})
    asked = {"experimental-initial-corrupt-check", "enable-v2", "tls-min-version", "feature-gates"}
    assert present == asked & set(conf)


@pytest.mark.parametrize("name", ["no", "y", "01", "1e3", "null", "true", "0x1f"])
def test_name_that_yaml_would_bite_stays_text(tmp_path: Path, name: str) -> None:
    """A host may be called what YAML 1.1 takes for a number or a truth value."""
    conf = _conf(tmp_path, name, nodes=[{"name": name, "address": ["192.168.7.11/24"]}])
    assert name == conf["name"]


def test_data_dir_stands_bare(tmp_path: Path) -> None:
    """Alpine's own init script finds the directory with sed, which keeps quotes."""
    lines = text(baked(plan_of(tmp_path)), "etc/etcd/conf.yml").splitlines()
    assert "data-dir: /data/etcd" in lines


def test_both_listeners_demand_certificates(tmp_path: Path) -> None:
    """Clients and peers alike have to show a certificate of the cluster's authority."""
    conf = _conf(tmp_path)
    expected = {
        f"{use}-transport-security": {
            "cert-file": f"/etc/etcd/pki/{leaf}.crt",
            "key-file": f"/etc/etcd/pki/{leaf}.key",
            "client-cert-auth": True,
            "trusted-ca-file": "/etc/etcd/pki/ca.crt",
        }
        for use, leaf in (("client", "server"), ("peer", "peer"))
    }
    assert expected == {key: conf[key] for key in expected}


def test_ipv6_addresses_stand_in_brackets(tmp_path: Path) -> None:
    """A node with both families listens for clients on both, and peers use the first."""
    nodes = [{"name": "m1", "address": ["fd00:7::11/64", "192.168.7.11/24"]}]
    conf = _conf(tmp_path, nodes=nodes)
    expected = {
        "listen-peer-urls": "https://[fd00:7::11]:2380",
        "listen-client-urls": "https://[fd00:7::11]:2379,https://192.168.7.11:2379,"
        "https://127.0.0.1:2379,https://[::1]:2379",
        "initial-cluster": "m1=https://[fd00:7::11]:2380",
    }
    assert expected == {key: conf[key] for key in expected}


def test_settings_of_the_profile_win(tmp_path: Path) -> None:
    """The user's own settings are written with their types, lists as lists."""
    settings = {
        "pre-vote": False,
        "max-wals": 3,
        "grpc-keepalive-min-time": 5_000_000_000,
        "cipher-suites": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256",
    }
    conf = _conf(tmp_path, etcd={"version": "3.5.16", "settings": settings})
    expected = settings | {
        "cipher-suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"]
    }
    assert expected == {key: conf[key] for key in settings}


def test_own_feature_gates_keep_the_corruption_check(tmp_path: Path) -> None:
    """A gate of the user's comes beside ours, not instead of it."""
    conf = _conf(tmp_path, etcd={"version": "3.6.4", "settings": {"feature-gates": "LeaseCheckpoint=true"}})
    expected = "InitialCorruptCheck=true,LeaseCheckpoint=true"
    assert expected == conf["feature-gates"]
