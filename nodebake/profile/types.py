"""Values a profile is made of: sizes, durations, names and paths, with errors that say how to write them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = re.compile(r"(\d{1,18})\s*(KiB|MiB|GiB|TiB|)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_LONGEST_HOST_NAME = 253  # RFC 1123, as DNS carries it
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_ABSOLUTE = re.compile(r"(/[A-Za-z0-9._+-]+)+", re.ASCII)
_LARGEST = (1 << 63) - 1  # what Go and the kernel keep in 64 bits with a sign
_LONGEST = "100y"
_LONGEST_DECIMAL = 256  # bits; Python refuses to write very long integers in decimal
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Like:
    """Refuse a string that does not match a pattern as a whole, and say in words what it should have been.

    Attributes:
        pattern: a regular expression that Python and ECMA-262 read alike, without anchors.
        kind: what a matching string is, and what to write: `a country; write its two capital letters`.
    """

    pattern: str
    kind: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"pattern": f"^({self.pattern})$"}

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value, re.ASCII):
            raise ValueError(f"{told(value)} is not {self.kind}")
        return value


def told(value: object) -> str:
    """Return a value as messages show it: scalars as YAML writes them, and not too long."""
    kinds = {dict: "a mapping", list: "a list", tuple: "a list", type(None): "nothing"}
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, int) and value.bit_length() > _LONGEST_DECIMAL:
        text = hex(value)
    else:
        text = kinds.get(type(value)) or repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _size(value: object) -> int:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = int(match[1]) * _UNITS[match[2]] if match else value
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ValueError(
            f"{told(value)} is not a size; write a number of bytes, or for instance 512MiB or 8GiB"
        )
    return _bounded(size, value)


def _bounded(number: int, value: object) -> int:
    """Return `number`, which was written as `value`, if it fits into 64 bits with a sign."""
    if not -_LARGEST <= number <= _LARGEST:
        end = f"large; the largest is {_LARGEST}" if number > 0 else f"small; the smallest is {-_LARGEST}"
        raise ValueError(f"{told(value)} is too {end}")
    return number


def _lasting(value: str) -> str:
    if value[-1] in _SECONDS and seconds(value) > seconds(_LONGEST):
        raise ValueError(f"{told(value)} is longer than {_LONGEST}; write a shorter time")
    return value


def _label(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise ValueError(
            f"{told(value)} is not a host name label (RFC 1123); use 1 to 63 of a-z, 0-9 and -, "
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
    if not _ABSOLUTE.fullmatch(value) or {".", ".."} & set(value.split("/")):
        raise ValueError(
            f"{told(value)} is not an absolute path of plain characters; write one such as /data/etcd"
        )
    return value


def _address(value: object) -> object:
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    if isinstance(value, str) and "%" not in value:
        try:
            return ip_address(value)
        except ValueError:
            pass
    hint = "; leave the prefix away" if isinstance(value, str) and "/" in value else ""
    raise ValueError(
        f"{told(value)} is not an IP address{hint or '; write one such as 192.168.7.1 or fd00::1'}"
    )


def _interface(value: object) -> object:
    if isinstance(value, IPv4Interface | IPv6Interface):
        return value
    if isinstance(value, str) and "%" not in value:
        try:
            interface = ip_interface(value)
        except ValueError:
            pass
        else:
            if "/" in value:
                return interface
            example = f"{value}/{24 if interface.version == 4 else 64}"  # noqa: PLR2004 - IP versions
            raise ValueError(f"{told(value)} has no prefix length; write for instance {example}")
    raise ValueError(
        f"{told(value)} is not an address with its prefix; write one such as 192.168.7.11/24 or fd00::11/64"
    )


def _scalar(value: object) -> object:
    if isinstance(value, str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int):
        return _bounded(value, value)
    raise ValueError(f"{told(value)} is not a plain value; write a string, a number, true or false")


def _kernel_value(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{told(value)} is nothing to the kernel; write a whole number or a string")  # noqa: TRY004 - for pydantic
    return value if isinstance(value, str) else _bounded(value, value)


class _OneOrMany:
    """Take a single value for a list of one."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._many, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        many = handler(schema)
        return {"anyOf": [many["items"], many]}

    @staticmethod
    def _many(value: object) -> object:
        return value if value is None or isinstance(value, list | tuple | dict) else (value,)


def _version_one(value: object) -> object:
    if value != 1 or isinstance(value, bool):
        raise ValueError(f"{told(value)} is not a version of this format; write schema: 1")
    return value


def seconds(duration: str) -> int:
    """Return the seconds of a `Duration` such as `90m`, `7d` or `10y` (a year has 365 days)."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


ByteSize = Annotated[int, BeforeValidator(_size, json_schema_input_type=int | str)]
"""Bytes: a number, or a string with KiB, MiB, GiB or TiB."""
Duration = Annotated[
    str,
    Like(r"[1-9][0-9]{0,8}[smhdwy]", "a duration; write a number and s, m, h, d, w or y, such as 90m or 10y"),
    AfterValidator(_lasting),
]
"""A whole number of seconds, minutes, hours, days, weeks or years, at most 100 years: `90m`, `7d`, `10y`."""
HostLabel = Annotated[str, AfterValidator(_label)]
HostName = Annotated[str, AfterValidator(_host_name)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
SystemUser = Annotated[
    str,
    Like(
        r"[a-z_][a-z0-9_-]{0,30}",
        "an account name; use 1 to 31 of a-z, 0-9, _ and -, beginning with a letter or _",
    ),
]
OneLine = Annotated[
    str,
    Like(r"[^\x00-\x1f\x7f]*", "one line of printable text; remove line breaks and control characters"),
]
"""Text that ends up in files where a line break or control character would start something else."""
Device = Annotated[
    str,
    Like(
        r"(LABEL|UUID|PARTLABEL|PARTUUID)=[A-Za-z0-9._-]+|/dev/[A-Za-z0-9._/-]+",
        "a device; write LABEL=DATA, UUID=... or a path under /dev",
    ),
]
InterfaceName = Annotated[
    str,
    Like(
        r"[A-Za-z0-9_*?][A-Za-z0-9_.*?-]{0,14}",
        "the name of a network interface; write 1 to 15 letters, digits, _ . and -, such as eth0",
    ),
]
TimeServer = Annotated[
    str,
    Like(
        r"[A-Za-z0-9:][A-Za-z0-9.:-]*",
        "a host name or address of a time server; write one such as pool.ntp.org or 192.168.7.1",
    ),
]
Version = Annotated[
    str,
    Like(
        r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}",
        "a version of etcd; write all three numbers, such as 3.5.16",
    ),
]
Retention = Annotated[
    str,
    Like(r"[0-9]{1,9}[smh]?", "a retention; write a time such as 1h, or a number of revisions"),
    AfterValidator(_lasting),
]
SubjectPart = Annotated[OneLine, Field(min_length=1, max_length=64)]

Country = Annotated[str, Like(r"[A-Z]{2}", "a country; write its two capital letters, such as DE")]
FileName = Annotated[OneLine, Field(min_length=1)]

Variable = Annotated[
    str,
    Like(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable; write one such as CA_PASSPHRASE"),
]
TimeZone = Annotated[
    str,
    Like(
        r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*",
        "a time zone of the tz database; write one such as Europe/Berlin",
    ),
]
KernelSetting = Annotated[
    str,
    Like(
        r"[a-z0-9_]+([./][A-Za-z0-9_*-]+)+", "a kernel setting; write its dotted name, such as vm.swappiness"
    ),
]
ModuleName = Annotated[
    str, Like(r"[A-Za-z0-9_-]+", "the name of a kernel module; write one such as br_netfilter")
]
PackageName = Annotated[
    str, Like(r"[a-z0-9][a-z0-9+._-]*", "the name of a package; write one such as tcpdump")
]
Mode = Annotated[str, Like(r"0[0-7]{3}", "a mode; write four octal digits in quotes, such as '0600'")]
Address = Annotated[IPv4Address | IPv6Address, BeforeValidator(_address, json_schema_input_type=str)]
Interface = Annotated[IPv4Interface | IPv6Interface, BeforeValidator(_interface, json_schema_input_type=str)]
Scalar = Annotated[
    bool | int | float | str, BeforeValidator(_scalar, json_schema_input_type=bool | int | float | str)
]
KernelValue = Annotated[int | str, BeforeValidator(_kernel_value, json_schema_input_type=int | str)]
SchemaVersion = Annotated[int, BeforeValidator(_version_one), Field(json_schema_extra={"const": 1})]

Value = TypeVar("Value")
OneOrMany = Annotated[tuple[Value, ...], _OneOrMany()]
"""A list, or a single value that stands for a list of one."""
