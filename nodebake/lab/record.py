"""What happened in a run, as immutable facts; `report` writes them down."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that had to hold.

    Attributes:
        name: what was checked, as a promise.
        passed: whether it held.
        detail: what was seen.
        at: seconds since the lab started.
        scenario: in which it had to hold.
    """

    name: str
    passed: bool
    detail: str
    at: float
    scenario: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A machine reached a stage.

    Attributes:
        stage: one of `stages.STAGES`, or `off`.
        at: seconds since the lab started.
        used: processor seconds that the emulator took since the machine got power.
    """

    stage: str
    at: float
    used: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One machine's way.

    Attributes:
        name: the node's.
        events: in the order they happened.
        console: file name of its console beside the report.
        digest: SHA-256 of the artefact it booted.
    """

    name: str
    events: tuple[Event, ...]
    console: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """A time in which the cluster acknowledged no write.

    Attributes:
        why: what had happened.
        seconds: between the last acknowledgement before and the first one after.
    """

    why: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The same machines with nothing but an initramfs that sets the address and execs etcd.

    Attributes:
        runs: seconds from cold start to all healthy over TLS, before the artefacts were started and after
            they were switched off: others may have made the computer faster or slower meanwhile.
        used: processor seconds that a machine's emulator took until then, on the average.
        allowed: how many times as long the artefacts may take.
    """

    runs: tuple[float, ...]
    used: float
    allowed: float

    @property
    def seconds(self) -> float:
        """The mean of both."""
        return fmean(self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A whole run.

    Attributes:
        profile: name of the profile.
        scenario: what was played.
        verdict: `passed` or `failed`.
        why: why it failed; empty if it did not.
        accelerator: `kvm` or `tcg`, with the reason.
        versions: of the emulator, the guest and etcd.
        healthy_after: seconds from the first power-on to all members healthy; None if they never were.
        used: processor seconds that a machine's emulator took until then, on the average.
        floor: what it is compared with, if that was measured.
    """

    profile: str
    scenario: str
    verdict: str
    why: str
    accelerator: str
    versions: dict[str, str]
    healthy_after: float | None
    checks: tuple[Check, ...]
    nodes: tuple[Timeline, ...]
    stalls: tuple[Stall, ...]
    used: float | None = None
    floor: Floor | None = None
