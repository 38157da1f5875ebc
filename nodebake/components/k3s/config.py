"""k3s's configuration file for one node, every value as JSON, which is YAML in every dialect."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from nodebake.components.etcd import EtcdPart
from nodebake.components.k3s.flags import FLAGS
from nodebake.components.k3s.part import API_PORT, CERT, KEY, K3sPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.types import Scalar

Value = str | bool | int | float | list[str | bool | int | float]

_DNS = 10  # the address in the services' network that k3s gives to its DNS server


def config_yaml(plan: Plan, node: NodePlan, *, token: str, authority: bytes) -> bytes:
    """Return the bytes of `config.yaml`.

    Args:
        plan: the cluster.
        node: a server or an agent.
        token: the shared secret.
        authority: certificate of the authority of k3s's servers, PEM, as it lies on them.
    """
    role = plan.part(K3sPart).roles[node.name]
    values = _common(plan, node)
    values |= _server(plan, node, token) if role == "server" else _agent(plan, token, authority)
    values |= _further(plan.part(K3sPart).settings, agent=role == "agent")
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()).encode()


def _common(plan: Plan, node: NodePlan) -> dict[str, Value]:
    return {
        "data-dir": plan.part(K3sPart).data_dir,
        "node-name": node.name,
        "node-ip": [four(node)],
        "flannel-iface": plan.profile.network.interface,
    }


def _server(plan: Plan, node: NodePlan, token: str) -> dict[str, Value]:
    part, etcd, k3s = plan.part(K3sPart), plan.part(EtcdPart), plan.profile.k3s
    assert k3s is not None  # noqa: S101 - there is a part
    servers = [plan.node(name) for name in part.named("server")]
    names = [name for server in servers for name in (*server.dns, *server.ips)]
    return {
        "token": token,
        "datastore-endpoint": ",".join(etcd.endpoints),
        "datastore-cafile": etcd.ca,
        "datastore-certfile": CERT,
        "datastore-keyfile": KEY,
        "advertise-address": four(node),
        # The members' shared names as well: where members are servers, they lead to an API, too.
        "tls-san": list(dict.fromkeys((*names, *part.names, *plan.shared_names, *k3s.tls_san))),
        "cluster-cidr": [str(k3s.cluster_cidr)],
        "service-cidr": [str(k3s.service_cidr)],
        "cluster-dns": [str(k3s.service_cidr[_DNS])],
        "flannel-backend": k3s.flannel_backend,
        "write-kubeconfig-mode": "0600",
        **({"disable": list(k3s.disable)} if k3s.disable else {}),
    }


def _agent(plan: Plan, token: str, authority: bytes) -> dict[str, Value]:
    # The long form of the token: an agent tells by the authority's hash whom it speaks to before it gives
    # anything away (k3s pkg/clientaccess/token.go: of one certificate alone, the hash of its file).
    whole = f"K10{hashlib.sha256(authority).hexdigest()}::server:{token}"
    return {"server": f"https://{plan.part(K3sPart).names[-1]}:{API_PORT}", "token": whole}


def _further(settings: Mapping[str, tuple[Scalar, ...]], *, agent: bool) -> dict[str, Value]:
    known = {key: values for key, values in settings.items() if FLAGS[key].agents or not agent}
    return {key: list(values) if FLAGS[key].kind == "list" else values[0] for key, values in known.items()}


def four(node: NodePlan) -> str:
    """Return the node's IPv4 address."""
    return next(ip for ip in node.ips if "." in ip)
