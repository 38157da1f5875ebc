"""The name systemd gives to the unit of a mount point."""

from __future__ import annotations


def unit_name(mountpoint: str) -> str:
    r"""Return `mountpoint` escaped as systemd does: `/srv/my-data` is `srv-my\x2ddata.mount`.

    Source: systemd.unit(5), "String escaping for inclusion in unit names".
    """
    parts = mountpoint.strip("/")
    escaped = "".join(_escape(letter, first=index == 0) for index, letter in enumerate(parts))
    return f"{escaped}.mount"


def _escape(letter: str, *, first: bool) -> str:
    if letter == "/":
        return "-"
    plain = letter.isascii() and (letter.isalnum() or letter in ":_.")
    return letter if plain and not (first and letter == ".") else f"\\x{ord(letter):02x}"
