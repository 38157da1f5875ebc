"""A flattened device tree, read with fdtget of the device tree compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Sequence

# The UART on a Pi's pin header. Aliases number the UARTs, and the kernel's drivers go by them.
_HEADER_UART, _NAMES = "serial@7e215040", ("serial0", "serial1")


def check(blob: bytes, name: str) -> None:
    """See to it that `blob` is a device tree.

    Raises:
        BuildError: it is something else; the message calls it `name`.
    """
    try:
        _fdtget(blob, [], "/", "compatible")
    except BuildError as error:
        raise BuildError(f"{name} is not a device tree: {str(error).splitlines()[-1].strip()}") from error


def text(blob: bytes, node: str, name: str) -> str:
    """Return the string property `name` of `node`; empty if there is none.

    Raises:
        InputError: fdtget is not installed.
        BuildError: the tree is broken.
    """
    return _fdtget(blob, ["-d", ""], node, name).decode().strip()


def header_uart(blob: bytes) -> str:
    """Return the kernel's name for the UART on the pin header of a Pi 3."""
    for number, alias in enumerate(_NAMES):
        if text(blob, "/aliases", alias).endswith(_HEADER_UART):
            return f"ttyS{number}"
    return "ttyS0"


def _fdtget(blob: bytes, options: Sequence[str], node: str, name: str) -> bytes:
    fdtget = find("fdtget", package="device-tree-compiler")
    return run([fdtget, "-t", "s", *options, "-", node, name], stdin=blob)
