"""Values a profile is made of: sizes, durations, names and paths, with errors that say how to write them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = re.compile(r"^(\d+)\s*(KiB|MiB|GiB|TiB|)$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_LONGEST_HOST_NAME = 253  # RFC 1123, as DNS carries it
_LABEL = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a size; write a number of bytes, or for instance 512MiB or 8GiB")
    return int(match[1]) * _UNITS[match[2]]


def _label(value: str) -> str:
    if not _LABEL.match(value):
        raise ValueError(
            f"{value!r} is not a host name label (RFC 1123); use 1 to 63 of a-z, 0-9 and -, "
            "beginning and ending with a letter or digit"
        )
    return value


def _host_name(value: str) -> str:
    if len(value) > _LONGEST_HOST_NAME:
        raise ValueError("a host name has at most 253 characters")
    for label in value.split("."):
        _label(label)
    return value


def _absolute(value: str) -> str:
    if not re.match(r"^(/[A-Za-z0-9._+-]+)+$", value) or ".." in value.split("/"):
        raise ValueError(f"{value!r} is not an absolute path of plain characters, such as /data/etcd")
    return value


def seconds(duration: str) -> int:
    """Return the seconds of a `Duration` such as `90m`, `7d` or `10y` (a year has 365 days)."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


ByteSize = Annotated[int, BeforeValidator(_size, json_schema_input_type=int | str)]
"""Bytes: a number, or a string with KiB, MiB, GiB or TiB."""
Duration = Annotated[str, Field(pattern=r"^[1-9]\d*[smhdwy]$")]
"""A whole number of seconds, minutes, hours, days, weeks or years: `90m`, `7d`, `10y`."""
HostLabel = Annotated[str, AfterValidator(_label)]
HostName = Annotated[str, AfterValidator(_host_name)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
SystemUser = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,30}$")]
