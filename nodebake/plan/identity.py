"""Who a node's card is: ids that tell it from the cards of other nodes."""

from __future__ import annotations

import hashlib
import struct
import uuid
from dataclasses import dataclass

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:nodebake:card")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tells this card from others; the same for the same cluster and node.

    Attributes:
        disk: the MBR's signature, which Linux makes the partitions' ids from (`PARTUUID`).
        boot: serial number of the FAT file system.
        root: UUID of the ext4 file system with the operating system.
        data: UUID of the ext4 file system for data.
    """

    disk: int
    boot: int
    root: uuid.UUID
    data: uuid.UUID


def identity(cluster: str, node: str) -> Identity:
    """Return the ids of a node's card."""

    def number(what: str) -> int:
        digest = hashlib.sha256(f"{cluster}/{node}/{what}".encode()).digest()
        return struct.unpack_from("<L", digest)[0] or 1  # zero means that there is none

    def unique(what: str) -> uuid.UUID:
        return uuid.uuid5(_NAMESPACE, f"{cluster}/{node}/{what}")

    return Identity(disk=number("disk"), boot=number("boot"), root=unique("root"), data=unique("data"))
