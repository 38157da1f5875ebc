"""Networks as a profile names them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import BeforeValidator

from nodebake.profile.types import told


def _network(value: object) -> object:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if isinstance(value, str) and "%" not in value:
        try:
            network = ip_network(value, strict=False)
        except ValueError:
            pass
        else:
            if str(network) == value or value == str(network.network_address):
                return network
            raise ValueError(f"{told(value)} is not the address of a network; write {network}")
    raise ValueError(f"{told(value)} is not a network; write one such as 10.0.0.0/8 or fd00::/8")


def _network_of_four(value: object) -> object:
    network = _network(value)
    if isinstance(network, IPv6Network):
        raise ValueError(f"{told(value)} is IPv6; write an IPv4 network such as 172.30.0.0/16")  # noqa: TRY004 - for pydantic
    return network


IpNetwork = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network, json_schema_input_type=str)]
"""A network with its prefix, or a single address."""
Ipv4Only = Annotated[IPv4Network, BeforeValidator(_network_of_four, json_schema_input_type=str)]
