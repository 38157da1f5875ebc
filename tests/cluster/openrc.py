"""etcd as OpenRC runs it: the artefact's own init script under the real openrc-run and supervise-daemon."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cluster.patience import until

if TYPE_CHECKING:
    from tests.cluster.namespace import Namespace

SCRIPT = "/etc/init.d/etcd"
LOG = "var/log/etcd.log"


@dataclass(frozen=True, slots=True)
class OpenRc:
    """The service `etcd` of a machine with OpenRC."""

    machine: Namespace

    def prepare(self) -> None:
        """Have etcd's output in a file: there is no syslog here for it to go to."""
        assert self.machine.root
        log = self.machine.root / LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch(mode=0o666)
        log.chmod(0o666)
        (self.machine.root / "etc/rc.conf").write_text(f'output_log="/{LOG}"\nerror_log="/{LOG}"\n')

    def start(self) -> None:
        """Start the service, without what it depends on; BuildError if the script refuses."""
        self.machine.run(SCRIPT, "--nocolor", "--nodeps", "start")

    def stop(self) -> None:
        """Stop the service and wait until etcd has ended."""
        self.machine.run(SCRIPT, "--nocolor", "--nodeps", "stop")

    def status(self) -> str:
        """Return what `status` says; BuildError unless the service is started."""
        return self.machine.run(SCRIPT, "--nocolor", "status").decode()

    def kill(self) -> None:
        """End etcd as a crash would; supervise-daemon will start it again."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def crashed(self) -> bool:
        """Tell whether etcd, or rather its supervisor, has ended by itself: it never should."""
        return not self.machine.processes("supervise-daemon")

    def alive(self) -> bool:
        """Tell whether an etcd runs."""
        return bool(self.processes())

    def processes(self) -> list[int]:
        """Return the numbers, as the host sees them, of this machine's etcd processes."""
        return self.machine.processes("etcd")

    def log(self) -> str:
        """Return all that etcd and OpenRC wrote."""
        assert self.machine.root
        return (self.machine.root / LOG).read_text(errors="replace")

    def back(self) -> None:
        """Wait until the supervisor has started etcd again."""
        until(f"OpenRC restarts etcd on {self.machine.name}", self.alive)
