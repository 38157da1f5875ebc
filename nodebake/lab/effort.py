"""How much processor time a process took: unlike a clock, nothing else on the machine makes it longer."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_USER, _SYSTEM = 11, 12  # fields of /proc/<pid>/stat after the program's name: proc(5)


def below(pid: int) -> float:
    """Return the processor seconds of all processes below `pid` that are alive; 0 if it is gone."""
    try:
        children = (_PROC / f"{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return sum(_own(child) + below(int(child)) for child in children)
    except OSError:
        return 0.0


def _own(pid: str) -> float:
    fields = (_PROC / pid / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / os.sysconf("SC_CLK_TCK")
