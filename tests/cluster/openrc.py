"""A service as OpenRC runs it: the artefact's own script under the real openrc-run and supervise-daemon."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.patience import until

if TYPE_CHECKING:
    from tests.cluster.namespace import Namespace

SCRIPT = "/etc/init.d/{}"
LOG = "var/log/{}.log"


@dataclass(frozen=True, slots=True)
class OpenRc:
    """A service of a machine with OpenRC; `program` is what it runs."""

    machine: Namespace
    name: str = "etcd"
    program: str = "etcd"

    def prepare(self) -> None:
        """Have its output in a file: there is no syslog here for it to go to."""
        assert self.machine.root
        log = self.machine.root / LOG.format(self.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch(mode=0o666)
        log.chmod(0o666)
        each = f"/{LOG.format('$RC_SVCNAME')}"
        (self.machine.root / "etc/rc.conf").write_text(f'output_log="{each}"\nerror_log="{each}"\n')

    def start(self) -> None:
        """Start the service, without what it depends on; BuildError if the script refuses."""
        self._do("--nodeps", "start")

    def stop(self) -> None:
        """Stop the service and wait until it has ended."""
        self._do("--nodeps", "stop")

    def status(self) -> str:
        """Return what `status` says; BuildError unless the service is started."""
        return self._do("status")

    def kill(self) -> None:
        """End it as a crash would; supervise-daemon will start it again."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def crashed(self) -> bool:
        """Tell whether it, or rather its supervisor, has ended by itself: it never should."""
        return not self.machine.processes("supervise-daemon")

    def alive(self) -> bool:
        """Tell whether it runs."""
        return bool(self.processes())

    def processes(self) -> list[int]:
        """Return the numbers, as the host sees them, of its processes."""
        return self.machine.processes(self.program)

    def log(self) -> str:
        """Return all that it and OpenRC wrote."""
        assert self.machine.root
        return (self.machine.root / LOG.format(self.name)).read_text(errors="replace")

    def back(self) -> None:
        """Wait until the supervisor has started it again."""
        until(f"OpenRC restarts {self.name} on {self.machine.name}", self.alive)

    def _do(self, *words: str) -> str:
        return self.machine.run(SCRIPT.format(self.name), "--nocolor", *words).decode()
