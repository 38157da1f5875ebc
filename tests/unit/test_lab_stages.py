"""Stages read from console lines that real machines wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodebake.lab import stages
from nodebake.lab.console import Console

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "[    0.000000] Linux version 6.12.117+deb13-cloud-amd64 (debian-kernel@lists.debian.org)",
            "kernel",
        ),
        ("[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x410fd034]", "kernel"),
        ("Welcome to Debian GNU/Linux 13 (trixie)!", "userspace"),
        ("Alpine Init 3.10.1-r0", "initramfs"),
        ("   OpenRC 0.54 is starting up Linux 6.12.117 (x86_64)", "userspace"),
        ("[  OK  ] Reached target network.target - Network.", "network"),
        (" * Starting networking ...", "network"),
        ("         Starting etcd.service - etcd, a member of the cluster's key-value store...", "etcd"),
        (" * Starting etcd ...", "etcd"),
        ("[  OK  ] Reached target network-pre.target - Preparation for Network.", None),
        ("         Starting systemd-networkd.service - Network Configuration...", None),
    ],
)
def test_a_line_tells_the_stage(line: str, expected: str | None) -> None:
    """Only the line that says a stage is reached counts."""
    assert expected == stages.stage_of(line)


def test_escapes_are_left_out() -> None:
    """Colours, cursor movements and control characters do not hide a stage."""
    raw = (
        b"\x1b[!p\x1b]104\x07\x1b[?7h[\x1b[0;32m  OK  \x1b[0m] Reached \x1b[0;1;39mnetwork.target\x1b[0m.\r\n"
    )
    assert "[  OK  ] Reached network.target." == stages.plain(raw)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[FAILED] Failed to start flanneld.service - flannel, the network for containers.", True),
        (" * ERROR: flanneld failed to start", True),
        ("[FAILED] Failed to start etcd.service - etcd, a member of the cluster's key-value store.", False),
        ("[  OK  ] Started flanneld.service - flannel, the network for containers.", False),
    ],
)
def test_a_service_that_gave_up_is_seen(tmp_path: Path, line: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """In systemd's words and in OpenRC's, and only that service."""
    console = Console(tmp_path / "console.log", clock=lambda: 0.0, reached=lambda *_: None)
    console.note(line)
    assert expected == console.gave_up("flanneld")


def test_a_panic_is_seen() -> None:
    """The kernel's last word is one; a service that fails is none."""
    seen = [
        stages.is_panic(line)
        for line in (
            "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
            "[FAILED] Failed to start etcd.service",
        )
    ]
    assert [True, False] == seen
