"""The section `k3s`."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import Field

from nodebake.profile.networks import Ipv4Only
from nodebake.profile.section import Section
from nodebake.profile.types import (
    AbsolutePath,
    FileName,
    HostLabel,
    HostName,
    Like,
    OneOrMany,
    Scalar,
)

K3sVersion = Annotated[
    str,
    Like(
        r"v1\.[0-9]{1,3}\.[0-9]{1,3}\+k3s[0-9]{1,3}",
        "a version of k3s; write it as its releases do, such as v1.31.4+k3s1",
    ),
]


class K3s(Section):
    """Kubernetes (k3s) with this etcd as its datastore, known to the operator before its first start."""

    version: K3sVersion
    """Upstream's version."""
    servers: OneOrMany[HostLabel] = Field(min_length=1)
    """Names of the nodes that run the control plane; they also run containers."""
    agents: OneOrMany[HostLabel] = ()
    """Names of the nodes that only run containers."""
    airgap: bool = Field(default=True, strict=True)
    """Bake in the images that k3s starts with; else the nodes take them from a registry."""
    cluster_cidr: Ipv4Only = IPv4Network("10.42.0.0/16")
    """The containers' addresses; every node has a /24 of it."""
    service_cidr: Ipv4Only = IPv4Network("10.43.0.0/16")
    """The services' addresses."""
    flannel_backend: Literal["vxlan", "host-gw", "wireguard-native", "none"] = "vxlan"
    """How k3s's own flannel brings packets from node to node; `none`: you bring a network of your own."""
    disable: OneOrMany[
        Literal["coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes"]
    ] = ()
    """Components of k3s to go without."""
    tls_san: OneOrMany[HostName] = ()
    """Further names of the API server, besides the servers' own, `k3s` and the cluster's shared names."""
    data_dir: AbsolutePath | None = None
    """Default: `k3s` on the data partition, or /var/lib/rancher/k3s without one."""
    token_file: FileName | None = None
    """File whose first line is the token, for a cluster that exists; default: the vault has one."""
    settings: dict[str, OneOrMany[Scalar]] = Field(default_factory=dict)
    """Further settings of k3s's configuration file by its own names, for all nodes that know them."""
