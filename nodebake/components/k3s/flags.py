"""The keys of k3s's configuration file: its flags without the dashes, and who takes them.

Source: docs.k3s.io, `k3s server` and `k3s agent`, the output of `--help`. k3s passes over a key that it does
not know, so this table is what stands between a slip and a setting that is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["string", "bool", "number", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One key: its type, and whether agents take it, too; servers take all."""

    kind: Kind
    agents: bool


# Names by type; after the bar those that only servers take.
_TABLE = """\
string bind-address container-runtime-endpoint data-dir default-runtime flannel-cni-conf flannel-conf
string flannel-iface image-credential-provider-bin-dir image-credential-provider-config
string image-service-endpoint log node-name pause-image private-registry resolv-conf server snapshotter
string token token-file vmodule vpn-auth vpn-auth-file
string | advertise-address agent-token agent-token-file cluster-domain cluster-reset-restore-path
string | datastore-cafile datastore-certfile datastore-endpoint datastore-keyfile
string | default-local-storage-path egress-selector-mode flannel-backend helm-job-image
string | secrets-encryption-provider service-node-port-range etcd-s3-access-key etcd-s3-bucket
string | etcd-s3-config-secret etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-folder etcd-s3-proxy
string | etcd-s3-region etcd-s3-secret-key etcd-s3-timeout etcd-snapshot-dir etcd-snapshot-name
string | etcd-snapshot-schedule-cron servicelb-namespace system-default-registry write-kubeconfig
string | write-kubeconfig-group write-kubeconfig-mode
number lb-server-port v
number | advertise-port etcd-snapshot-retention https-listen-port
bool alsologtostderr debug disable-apiserver-lb disable-default-registry-endpoint docker enable-pprof
bool nonroot-devices prefer-bundled-bin protect-kernel-defaults rootless selinux with-node-id
bool | cluster-init cluster-reset disable-agent disable-cloud-controller disable-helm-controller
bool | disable-kube-proxy disable-network-policy disable-scheduler embedded-registry
bool | etcd-disable-snapshots etcd-expose-metrics etcd-s3 etcd-s3-insecure etcd-s3-skip-ssl-verify
bool | etcd-snapshot-compress flannel-external-ip flannel-ipv6-masq secrets-encryption
bool | supervisor-metrics tls-san-security
list kube-proxy-arg kubelet-arg node-external-dns node-external-ip node-internal-dns node-ip
list node-label node-taint
list | cluster-cidr cluster-dns disable etcd-arg kube-apiserver-arg kube-cloud-controller-manager-arg
list | kube-controller-manager-arg kube-scheduler-arg service-cidr tls-san
"""


def _rows(line: str) -> dict[str, Flag]:
    kind, *names = line.split()
    agents = names[0] != "|"
    return {name: Flag(kind=kind, agents=agents) for name in names if name != "|"}  # type: ignore[arg-type]  # a test reads the table's kinds


FLAGS = {name: flag for line in _TABLE.splitlines() for name, flag in _rows(line).items()}

_EMBEDDED = "nothing: this is for an etcd inside of k3s"
OWNED = {
    "advertise-address": "nodes[].address",
    "agent-token": "the vault",
    "agent-token-file": "the vault",
    "bind-address": "",
    "cluster-cidr": "k3s.cluster_cidr",
    "cluster-dns": "k3s.service_cidr",
    "cluster-init": _EMBEDDED,
    "cluster-reset": _EMBEDDED,
    "cluster-reset-restore-path": _EMBEDDED,
    "data-dir": "k3s.data_dir",
    "datastore-cafile": "etcd.tls.ca",
    "datastore-certfile": "",
    "datastore-endpoint": "nodes",
    "datastore-keyfile": "",
    "disable": "k3s.disable",
    "disable-agent": "",
    "flannel-backend": "k3s.flannel_backend",
    "flannel-iface": "network.interface",
    "https-listen-port": "",
    "node-ip": "nodes[].address",
    "node-name": "nodes[].name",
    "server": "k3s.servers",
    "service-cidr": "k3s.service_cidr",
    "tls-san": "k3s.tls_san",
    "token": "k3s.token_file",
    "token-file": "k3s.token_file",
} | {name: _EMBEDDED for name in FLAGS if name.startswith("etcd-")}
"""Keys that `k3s.settings` may not have, and where in the profile their value comes from (empty: fixed)."""
