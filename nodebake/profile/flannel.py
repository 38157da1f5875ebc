"""The section `flannel`."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import Field

from nodebake.profile.networks import Ipv4Only
from nodebake.profile.section import Section
from nodebake.profile.types import AbsolutePath, Like

FlannelVersion = Annotated[
    str,
    Like(
        r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}",
        "a version of flannel; write all three numbers, such as 0.28.9",
    ),
]
LONGEST_SUBNET = 30  # one with two addresses
EtcdKey = Annotated[
    str,
    Like(r"(/[A-Za-z0-9._-]+)+", "a key of etcd; write one such as /kubernetes/network"),
]


class Flannel(Section):
    """A network for containers over all nodes, each with a subnet of its own, kept in etcd."""

    version: FlannelVersion = "0.28.9"
    """Upstream's version."""
    network: Ipv4Only = IPv4Network("172.30.0.0/16")
    """All subnets together; outside of the nodes' own networks."""
    subnet_length: int = Field(default=21, strict=True, ge=8, le=LONGEST_SUBNET)
    """Prefix length of one node's subnet."""
    backend: Literal["vxlan", "host-gw", "wireguard"] = "vxlan"
    """How packets get from node to node: wrapped, by plain routes (one Ethernet only), or encrypted."""
    prefix: EtcdKey = "/kubernetes/network"
    """Where in etcd the network and its subnets stand."""
    bin_dir: AbsolutePath | None = None
    """Where flanneld goes; default: beside etcd."""
    cert: AbsolutePath = "/etc/flannel/pki/flannel.crt"
    """flannel's own client certificate."""
    key: AbsolutePath = "/etc/flannel/pki/flannel.key"
    """Its key."""
