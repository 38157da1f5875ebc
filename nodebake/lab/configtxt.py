"""`config.txt` as the firmware of a Raspberry Pi 3 B reads it.

Source: https://www.raspberrypi.com/documentation/computers/config_txt.html; what that leaves open is in
the issues of raspberrypi/firmware, named where they matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = "config.txt"
_LONGEST = 98  # characters of a line; the rest is ignored
_DEEPEST = 8  # files that include one another
_MODELS = frozenset({"pi1", "pi2", "pi3", "pi3+", "pi4", "pi400", "pi5", "pi500", "pi500+"})
_MODELS |= {"pi0", "pi0w", "pi02", "cm0", "cm1", "cm3", "cm3+", "cm4", "cm4s", "cm5"}
# There is no monitor, one HDMI port (a Pi 4 has two), no serial number, and every start is an ordinary one.
_NEVER = ("EDID=", "HDMI:", "0x", "tryboot")
_BOARD_TYPE = 0x08  # the 3 B's, in the table of revision codes
# What bootcode.bin and not start.elf acts on; it knows no `include` (raspberrypi/firmware issues 1332, 1810).
_EARLY = frozenset(
    {"gpu_mem", "gpu_mem_1024", "total_mem", "start_file", "fixup_file", "start_x", "start_debug"}
)


@dataclass(slots=True, kw_only=True)
class Settings:
    """What a `config.txt` comes to.

    Attributes:
        values: by name; the last one wins. An `initramfs` line is the value of that name.
        overlays: device tree overlays, without their parameters, in order.
        notes: what has no effect, and why.
    """

    values: dict[str, str] = field(default_factory=dict)
    overlays: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def on(self, name: str) -> bool:
        """Say whether the number `name` is set, to something else than 0."""
        return self.number(name, 0) != 0

    def number(self, name: str, default: int) -> int:
        """Return the number `name`, or `default` without one."""
        try:
            return int(self.values.get(name, ""), 0)
        except ValueError:
            return default


def settings(read: Callable[[str], str | None]) -> Settings:
    """Return what `config.txt` and the files it includes come to on a Pi 3 B without a monitor.

    Args:
        read: returns a file's text by its name, or None if there is no such file.

    Raises:
        BuildError: it depends on something that an emulated Pi does not have.
    """
    found = Settings()
    _Reader(found, read).file(CONFIG, depth=0)
    return found


class _Reader:
    """Goes through the files line by line; sections reach over the end of an included file."""

    def __init__(self, found: Settings, read: Callable[[str], str | None]) -> None:
        self._found, self._read = found, read
        self._filters: dict[str, bool] = {}

    def file(self, name: str, *, depth: int) -> None:
        text = self._read(name)
        if text is None:
            return
        if depth > _DEEPEST:
            raise BuildError(f"{name}: files include one another more than {_DEEPEST} deep")
        for number, line in enumerate(text.splitlines(), start=1):
            where = f"{name}:{number}"
            if len(line) > _LONGEST:
                self._found.notes.append(f"{where}: only the first {_LONGEST} characters count")
            words = line[:_LONGEST].strip()
            if words.startswith("["):
                self._section(words, where)
            elif words and not words.startswith("#") and all(self._filters.values()):
                self._line(words, where, depth=depth)

    def _section(self, words: str, where: str) -> None:
        name = words[1:].partition("]")[0]
        kind, holds = _holds(name, where)
        if kind == "all":
            self._filters.clear()
        else:
            self._filters[kind] = holds

    def _line(self, words: str, where: str, *, depth: int) -> None:
        command, _, rest = words.partition(" ")
        if command == "include":
            self.file(rest.strip(), depth=depth + 1)
        elif command == "initramfs":
            self._initramfs(rest.split(), where)
        else:
            name, equals, value = words.partition("=")
            if equals:
                self._set(name.strip(), value.strip(), where, included=depth > 0)

    def _initramfs(self, words: list[str], where: str) -> None:
        place = words[1] if words[1:] else "followkernel"
        if not words or not (place == "followkernel" or re.fullmatch(r"0x[0-9a-fA-F]+|\d+", place)):
            # raspberrypi/firmware issue 450: the parser ignores what is neither.
            self._found.notes.append(f"{where}: not `initramfs FILE followkernel` or an address: ignored")
            return
        self._found.values["initramfs"] = words[0]

    def _set(self, name: str, value: str, where: str, *, included: bool) -> None:
        if name == "dtoverlay":
            overlay = value.partition(",")[0]
            self._found.overlays += [overlay] if overlay else []
            return
        if name == "initramfs":
            self._found.notes.append(f"{where}: initramfs takes no equals sign: ignored")
            return
        if name in _EARLY and included:
            self._found.notes.append(f"{where}: {name} has no effect: the boot code reads {CONFIG} only")
            return
        self._found.values["initramfs" if name == "ramfsfile" else name] = value


def _holds(name: str, where: str) -> tuple[str, bool]:
    """Return the kind of a section's condition, and whether it holds on the emulated Pi."""
    if name == "all":
        return "all", True
    if name == "none" or name in _MODELS:
        return "model", name == "pi3"
    board = re.fullmatch(r"board-type=(0x[0-9a-fA-F]+|\d+)", name)
    if board:
        return "board", int(board[1], 0) == _BOARD_TYPE
    for kind in _NEVER:
        if name.startswith(kind):
            return kind, False
    raise BuildError(f"{where}: whether [{name}] holds is not known for an emulated Pi")
