"""How far a machine has come, read from its console."""

from __future__ import annotations

import re

STAGES = ("power", "firmware", "kernel", "initramfs", "userspace", "network", "etcd", "healthy")
"""In the order they are reached; the last one is the cluster's to tell, not the console's."""

_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-_])|[\x00-\x08\x0b-\x1f\x7f]")
_MARKS = {
    "firmware": re.compile(r"^-- lab: firmware: |^SeaBIOS"),
    "kernel": re.compile(r"Linux version \d|Booting Linux on physical CPU"),
    "initramfs": re.compile(r"^Alpine Init "),
    "userspace": re.compile(
        r"Welcome to |systemd\[1\]: systemd \d|OpenRC [\d.]+\S* is starting up|lab: init runs"
    ),
    "network": re.compile(
        r"Reached target network\.target|\* Starting networking|Starting networking \.\.\.|lab: address is up"
    ),
    "etcd": re.compile(r"Starting etcd\.service|\* Starting etcd|Starting etcd \.\.\.|lab: starting etcd"),
}
_PANIC = re.compile(
    r"Kernel panic - not syncing|end Kernel panic|can't run '/sbin/init'|Attempted to kill init"
)


def gave_up(line: str, service: str) -> bool:
    """Say whether systemd or OpenRC could not start a service."""
    return any(words in line for words in (f"Failed to start {service}", f"ERROR: {service} failed to start"))


def plain(line: bytes) -> str:
    """Return a console line without escape sequences, control characters and the line's end."""
    return _ESCAPE.sub("", line.decode(errors="replace")).rstrip()


def stage_of(line: str) -> str | None:
    """Return the stage that `line` says is reached, if it says so."""
    return next((stage for stage, mark in _MARKS.items() if mark.search(line)), None)


def is_panic(line: str) -> bool:
    """Say whether the guest's kernel gave up."""
    return bool(_PANIC.search(line))
