"""Processor time of what a process started."""

from __future__ import annotations

from nodebake import command
from nodebake.lab import effort

_SPIN = "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo spun; read x'; :"


def test_what_children_use_is_counted() -> None:
    """The time of a grandchild that worked counts; a process that is gone has used nothing."""
    process = command.start(["sh", "-c", _SPIN])
    with process:
        assert process.stdout
        process.stdout.readline()
        used = effort.below(process.pid)
        process.kill()
    assert (True, 0.0) == (used > 0, effort.below(process.pid))
