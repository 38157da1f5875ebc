"""Ask who has an IPv4 address, and print the MAC address of everyone who answers, one per line.

Run inside the lab's network: `python -m nodebake.lab.arp INTERFACE ADDRESS`. Format: RFC 826.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

_ETHERTYPE = 0x0806
_REQUEST, _REPLY = 1, 2
_SECONDS = 2.0


def question(mac: bytes, address: str) -> bytes:
    """Return the Ethernet frame that asks for `address` without telling one of our own (RFC 5227)."""
    head = b"\xff" * 6 + mac + struct.pack("!H", _ETHERTYPE)
    asker = mac + bytes(4)
    asked = bytes(6) + socket.inet_aton(address)
    return head + struct.pack("!HHBBH", 1, 0x0800, 6, 4, _REQUEST) + asker + asked


def answered(frame: bytes, address: str) -> str:
    """Return who says in `frame` that `address` is theirs; empty if nobody does."""
    if len(frame) < 42 or frame[20:22] != struct.pack("!H", _REPLY):  # noqa: PLR2004 - Ethernet 14, ARP 28
        return ""
    return frame[22:28].hex(":") if frame[28:32] == socket.inet_aton(address) else ""


def owners(interface: str, address: str) -> list[str]:
    """Return the MAC addresses that answer for `address` on `interface`, sorted.

    Raises:
        OSError: this process may not.
    """
    found: set[str] = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE)) as wire:
        wire.bind((interface, _ETHERTYPE))
        wire.settimeout(0.2)
        end = time.monotonic() + _SECONDS
        wire.send(question(wire.getsockname()[4], address))
        while time.monotonic() < end:
            try:
                found.add(answered(wire.recv(2048), address))
            except TimeoutError:
                continue
    return sorted(found - {""})


if __name__ == "__main__":
    sys.stdout.write("".join(f"{mac}\n" for mac in owners(*sys.argv[1:3])))
