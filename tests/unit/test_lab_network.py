"""The operator's addresses on the private network, and who answers for an address."""

from __future__ import annotations

import pytest

from nodebake.lab import arp
from nodebake.lab.network import operator_addresses

MAC = bytes.fromhex("525400000001")


@pytest.mark.parametrize(
    ("interfaces", "gateways", "expected"),
    [
        (["192.168.7.11/24", "192.168.7.12/24"], ["192.168.7.1"], ("192.168.7.1/24",)),
        (["192.168.7.11/24"], [], ("192.168.7.254/24",)),
        (["192.168.7.254/24", "192.168.7.253/24"], [], ("192.168.7.252/24",)),
        (["192.168.7.11/24"], ["10.0.0.1"], ("192.168.7.254/24",)),
        (["10.0.0.1/30"], [], ("10.0.0.2/30",)),
        (["10.1.0.1/24", "fd00::1/64"], [], ("10.1.0.254/24", "fd00::ffff:ffff:ffff:ffff/64")),
        (["10.0.0.1/32"], [], ()),
    ],
)
def test_the_operator_is_a_neighbour_of_every_machine(
    interfaces: list[str], gateways: list[str], expected: tuple[str, ...]
) -> None:
    """The address is the gateway's where there is one, or else the highest that nobody has."""
    assert expected == operator_addresses(interfaces, gateways)


def test_the_question_is_an_arp_probe() -> None:
    """It is a broadcast that tells no address of its own, so that it changes nobody's table."""
    expected = (
        "ffffffffffff 525400000001 0806 0001 0800 06 04 0001 525400000001 00000000 000000000000 0a4d000b"
    )
    assert bytes.fromhex(expected) == arp.question(MAC, "10.77.0.11")


def test_only_a_reply_for_the_address_counts() -> None:
    """Requests, replies for others and short frames say nothing."""
    reply = bytes.fromhex(
        "525400000001 52540000000b 0806 0001 0800 06 04 0002 52540000000b 0a4d000b 525400000001 00000000"
    )
    answers = [
        arp.answered(reply, "10.77.0.11"),
        arp.answered(reply, "10.77.0.12"),
        arp.answered(arp.question(MAC, "10.77.0.11"), "10.77.0.11"),
        arp.answered(b"", "10.77.0.11"),
    ]
    assert ["52:54:00:00:00:0b", "", "", ""] == answers
