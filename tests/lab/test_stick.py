"""Removable disks and bad sectors, in a Linux that has them: a user-mode one, over this machine's files."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from nodebake.command import run
from tests.lab.clusters import need_lab
from tests.need import ROOT, need

INIT = Path(__file__).parent / "uml/init"


@pytest.mark.timeout(600)
def test_flashing_sticks_keeps_its_promises() -> None:
    """All of tests/unit/test_flash_stick.py: the kernel of this machine may not have what it needs."""
    need_lab()
    linux = need("linux.uml", package="user-mode-linux")
    argv = [
        *(linux, "mem=3072M", "quiet", "con=null", "con0=null,fd:1", "ssl=null"),
        *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={INIT}"),
        *(f"checkout={ROOT}", f"python={sys.executable}", "tests=tests/unit/test_flash_stick.py"),
    ]
    told = run(argv, timeout=600).decode(errors="replace")
    assert "status 0" in told, told
    assert re.search(r"(?m)^=+ \d+ passed in ", told), told  # and none skipped
