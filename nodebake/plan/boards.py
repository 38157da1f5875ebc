"""The boards a profile can name."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the annotation of a public constant
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Arch = Literal["aarch64", "x86_64"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A kind of machine.

    Attributes:
        name: as the profile writes it.
        arch: the architecture, as `uname -m` prints it.
        memory: bytes; of boards sold with several sizes the usual one.
        data: bytes of the data partition in an image: little on a card, where the node makes it larger.
        alpine: the release of Alpine that images have unless the profile names another.
        firmware: whose rules the boot partition follows; None when the board has no boot files of its own.
    """

    name: str
    arch: Arch
    memory: int
    data: int = 16 << 20
    alpine: str = "3.22.1"
    firmware: Literal["raspberrypi"] | None = None

    @property
    def archs(self) -> tuple[Arch, ...]:
        """The architectures it can be: a virtual machine is what its host makes it."""
        return (self.arch,) if self.firmware else ("x86_64", "aarch64")


# Memory: https://www.raspberrypi.com/documentation/computers/raspberry-pi.html
_BOARDS = (
    Board(name="rpi3", arch="aarch64", memory=1 << 30, firmware="raspberrypi"),
    Board(name="rpi4", arch="aarch64", memory=4 << 30, firmware="raspberrypi"),
    Board(name="rpi5", arch="aarch64", memory=8 << 30, firmware="raspberrypi"),
    Board(name="rpi-zero-2w", arch="aarch64", memory=512 << 20, firmware="raspberrypi"),
    Board(name="vm", arch="x86_64", memory=2 << 30, data=1 << 30, alpine="3.20.3"),
)
BOARDS: Mapping[str, Board] = MappingProxyType({board.name: board for board in _BOARDS})
