"""Processes: what happens to them when the user gives up."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from nodebake import command
from tests.need import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# Begins late: who has started it has to be waiting for it by then.
TIDY = "trap 'sleep 1; rm litter; exit 1' INT; sleep 2; : >litter; while :; do sleep 0.1; done"
TOOL = f"""
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from nodebake import command
command.run(["sh", "-c", {TIDY!r}], cwd=sys.argv[1])
"""


def test_a_program_may_tidy_up_after_ctrl_c(tmp_path: Path) -> None:
    """It has a second's work to do; nothing is left, and nobody waits longer than that."""
    env = {"PYTHONPATH": str(ROOT)}
    with command.start([sys.executable, "-c", TOOL, str(tmp_path)], env=env) as tool:
        while not (tmp_path / "litter").exists():
            assert tool.poll() is None
        os.killpg(tool.pid, signal.SIGINT)
        said = tool.communicate(timeout=60)[0]
    assert ([], True) == (list(tmp_path.iterdir()), said.endswith(b"KeyboardInterrupt\n"))
