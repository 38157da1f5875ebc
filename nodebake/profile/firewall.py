"""The section `firewall`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nodebake.profile.networks import IpNetwork
from nodebake.profile.section import Section
from nodebake.profile.types import OneOrMany


class OpenPort(Section):
    """A port of your own that others may call."""

    port: int = Field(strict=True, ge=1, le=65535)
    """Its number."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """Of the transport."""
    networks: OneOrMany[IpNetwork] | None = None
    """Who may call it; default: anyone."""


class Firewall(Section):
    """A packet filter (nftables) on every node; without this section there is none."""

    clients: OneOrMany[IpNetwork] | None = None
    """Networks that may call etcd and Kubernetes' API, besides the nodes; default: the nodes' own."""
    ssh: OneOrMany[IpNetwork] | None = None
    """Networks that may log in; default: anyone."""
    ports: tuple[OpenPort, ...] = ()
    """Further ports to open; those of the components open by themselves."""
