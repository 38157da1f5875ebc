"""One machine of the lab: power on, power cut, cable out, cable in."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nodebake.errors import BuildError
from nodebake.lab import effort
from nodebake.lab.console import Console
from nodebake.lab.hardware import Hardware, argv, without_data
from nodebake.lab.pi import switched_on
from nodebake.lab.record import Event

if TYPE_CHECKING:
    import subprocess
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from nodebake.lab.accelerator import Accelerator
    from nodebake.lab.network import Network


class Machine:
    """A machine that can be started many times with the same disks.

    Attributes:
        name: the node's, or another one for a machine that should not be there.
        hardware: what it is made of.
        console: what it says.
        events: stages reached, over all its starts.
    """

    def __init__(
        self,
        name: str,
        hardware: Hardware,
        *,
        number: int,
        place: tuple[Network, Accelerator, Path],
        clock: Callable[[], float],
    ) -> None:
        """Join the machine to the network, and leave it off.

        Args:
            name: names its console file.
            hardware: what it is made of.
            number: its place, from 1; makes its MAC address.
            place: the network, the accelerator, and the directory for its files.
            clock: seconds since the lab started.
        """
        self.name, self.hardware = name, hardware
        self.events: list[Event] = []
        self._network, self._accelerator, work = place
        self._clock, self._number = clock, number
        self._tap = f"tap{number}"
        self._control = self._network.sockets / f"{name}.qmp"
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self.console = Console(work / f"{name}.console.log", clock=clock, reached=self.reached)
        self._network.add_tap(self._tap)

    @property
    def running(self) -> bool:
        """Whether it has power and its emulator lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def stage(self) -> str:
        """The latest stage reached; `off` before the first start."""
        return self.events[-1].stage if self.events else "off"

    def power_on(self) -> None:
        """Start it cold.

        Raises:
            BuildError: its firmware refuses the card.
        """
        self._control.unlink(missing_ok=True)
        self.events.append(Event(stage="power", at=self._clock()))
        self.console.note("power on")
        words = argv(
            self._firmware(),
            accelerator=self._accelerator,
            tap=self._tap,
            number=self._number,
            control=self._control,
        )
        self._process = self._network.start(words)
        assert self._process.stdout is not None  # noqa: S101 - command.start always makes the pipe
        self._reader = self.console.attach(self._process.stdout)

    def cut_power(self) -> None:
        """Kill the emulator with SIGKILL: whatever the guest had not flushed to its disks is gone."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        if self._reader:
            self._reader.join(timeout=5)
        self._process = None
        self._control.unlink(missing_ok=True)
        self.console.note("power cut")
        self.events.append(Event(stage="off", at=self._clock()))

    def set_clock(self, moment: str) -> None:
        """Set the real-time clock of the next start, as `-rtc base=` takes it."""
        self.hardware = replace(self.hardware, clock=moment)

    def take_out(self, role: str) -> None:
        """Take the disks of `role` out before the next start; data may be a partition of another disk."""
        kept = [drive for drive in self.hardware.drives if drive.role != role]
        if role == "data":
            kept = [without_data(drive) if drive.holds_data else drive for drive in kept]
        self.hardware = replace(self.hardware, drives=tuple(kept))

    def pull_cable(self) -> None:
        """Take the network cable out; the guest sees that."""
        self._ask("set_link", name="nic", up=False)
        self.console.note("cable out")

    def plug_cable(self) -> None:
        """Put the cable back in."""
        self._ask("set_link", name="nic", up=True)
        self.console.note("cable in")

    def reached(self, stage: str, moment: float) -> None:
        """Note that a stage is reached, unless it was already in this start."""
        start = max((i for i, event in enumerate(self.events) if event.stage == "power"), default=0)
        if stage not in {event.stage for event in self.events[start:]}:
            used = effort.below(self._process.pid) if self._process else 0.0
            self.events.append(Event(stage=stage, at=moment, used=used))

    def _firmware(self) -> Hardware:
        """Return the machine with what its firmware finds to start, if QEMU is not told that already."""
        if self.hardware.kernel or self.hardware.kind != "raspi3b":
            return self.hardware
        try:
            ready, log = switched_on(self.hardware)
        except BuildError as error:
            self.console.note(f"firmware: {error}")
            raise BuildError(f"{self.name}: {error}") from error
        for line in log:
            self.console.note(f"firmware: {line}")
        return ready

    def _ask(self, command: str, **arguments: Any) -> None:  # noqa: ANN401 - JSON
        """Give QEMU a command (docs/interop/qmp-spec.rst).

        Raises:
            BuildError: it did not take it.
        """
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(str(self._control))
            with control.makefile("rwb") as stream:
                stream.readline()
                for words in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                    stream.write(json.dumps(words).encode() + b"\n")
                    stream.flush()
                    answer = _answer(stream.readline, self.name)
                    if "error" in answer:
                        raise BuildError(f"{self.name}: {command}: {answer['error']['desc']}")


def _answer(readline: Callable[[], bytes], name: str) -> dict[str, Any]:
    """Return the next line that is no event."""
    while line := readline():
        answer: dict[str, Any] = json.loads(line)
        if "event" not in answer:
            return answer
    raise BuildError(f"{name}: QEMU closed its control socket")
