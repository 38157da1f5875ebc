"""The names systemd gives to the units of a mount point and of its device."""

from __future__ import annotations


def unit_name(mountpoint: str) -> str:
    r"""Return `mountpoint` escaped as systemd does: `/srv/my-data` is `srv-my\x2ddata.mount`.

    Source: systemd.unit(5), "String escaping for inclusion in unit names".
    """
    return f"{_escaped(mountpoint)}.mount"


def device_unit(device: str) -> str:
    """Return the unit of `device`, a path below /dev: systemd.device(5)."""
    return f"{_escaped(device)}.device"


def fsck_unit(device: str) -> str:
    """Return the unit that checks the file system on `device`, a path: systemd-fsck@.service(8)."""
    return f"systemd-fsck@{_escaped(device)}.service"


def _escaped(path: str) -> str:
    return "".join(_escape(letter, first=index == 0) for index, letter in enumerate(path.strip("/")))


def _escape(letter: str, *, first: bool) -> str:
    if letter == "/":
        return "-"
    plain = letter.isascii() and (letter.isalnum() or letter in ":_.")
    return letter if plain and not (first and letter == ".") else f"\\x{ord(letter):02x}"
