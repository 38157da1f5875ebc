"""A service as systemd runs it: the artefact's own unit, read and followed line by line.

What cannot be followed without systemd (the sandbox, the limits on system calls) is left to machines that
boot; users, environment, limits, the order of commands and the readiness protocol are followed here.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from typing import TYPE_CHECKING

from nodebake.command import PATH
from nodebake.errors import BuildError
from tests.patience import until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.cluster.namespace import Namespace

UNIT = "etc/systemd/system/{}.service"
LOG = "var/log/{}.log"
NOTIFY = "run/notify-{}"
RESTARTING = 120

# What the sandbox is made of, and what has no meaning without a systemd; everything else in `[Service]` is
# followed here, and a key that is in neither list fails the test that meets it.
UNFOLLOWED = re.compile(
    r"^(Capability|DeviceAllow|Lock|Memory|NoNew|Private|Protect|Restrict|SystemCall|ReadWrite|IOScheduling"
    r"|Timeout|Standard|StartupCPU|ExecReload|ExecStop|RemainAfter|KillMode|Delegate|Tasks|LimitNPROC|LimitCORE|EnvironmentFile)\w*$"
)
FOLLOWED = {"Type", "User", "Group", "UMask", "ExecStartPre", "ExecStart", "Environment", "LimitNOFILE"}
FOLLOWED |= {"OOMScoreAdjust", "Nice", "Restart", "RestartSec", "ExecStartPost"}

Unit = dict[str, dict[str, list[str]]]


def read_unit(text: str) -> Unit:
    """Return a unit file's values by section and key, in order (systemd.syntax(7)).

    An empty value forgets what came before it, as systemd does for lists.
    """
    unit: Unit = {}
    section: dict[str, list[str]] = {}
    for line in map(str.strip, text.replace("\\\n", " ").splitlines()):
        if line.startswith("["):
            section = unit.setdefault(line.strip("[]"), {})
        elif line and line[0] not in "#;":
            key, _, value = line.partition("=")
            values = section.setdefault(key.strip(), [])
            values.append(value.strip()) if value.strip() else values.clear()
    return unit


@dataclass(slots=True)
class Systemd:
    """A service of a machine with systemd; `program` is what it runs in the end."""

    machine: Namespace
    name: str = "etcd"
    program: str = "etcd"
    unit: Unit = field(init=False)
    main: subprocess.Popen[bytes] | None = field(init=False, default=None)
    notify: socket.socket | None = field(init=False, default=None)

    def prepare(self) -> None:
        """Read the unit, and make its log."""
        self.unit = read_unit((self.root / UNIT.format(self.name)).read_text())
        assert [key for key in self.service if key not in FOLLOWED and not UNFOLLOWED.match(key)] == []
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.touch()

    @property
    def root(self) -> Path:
        """The machine's root file system."""
        assert self.machine.root
        return self.machine.root

    @property
    def _log(self) -> Path:
        return self.root / LOG.format(self.name)

    @property
    def _notify(self) -> Path:
        return self.root / NOTIFY.format(self.name)

    @property
    def programs(self) -> set[str]:
        """The file names of what runs: first perhaps a script, in the end the program."""
        return {shlex.split(self.one("ExecStart", ""))[0].rpartition("/")[2], self.program}

    @property
    def service(self) -> dict[str, list[str]]:
        """The unit's `[Service]`."""
        return self.unit["Service"]

    def one(self, key: str, default: str) -> str:
        """Return the last value of a key in `[Service]`; the last one counts."""
        return self.service.get(key, [default])[-1]

    def start(self) -> None:
        """Run ExecStartPre to its end, then ExecStart; BuildError if what comes before it refuses."""
        for line in self.service.get("ExecStartPre", []):
            self._command(line)
        if self.one("Type", "simple") == "oneshot":
            for line in self.service["ExecStart"]:
                self._command(line)
            return
        self._listen()
        command = shlex.split(self.one("ExecStart", ""))
        argv = self.machine.argv(*command)
        at = argv.index("chroot")
        user = self.one("User", "root")
        numbers = _numbers(self.root, user, self.one("Group", user))
        argv[at : at + 1] = [*self._limits(), "chroot", f"--userspec={numbers}", "--groups="]
        with self._log.open("ab") as log:
            self.main = self.machine.spawn(argv, log=log, env=self._environment())
        assert self.main.poll() is None

    def _limits(self) -> list[str]:
        # A container's root may not raise its own limits: what is allowed is used, and the unit's text is
        # judged elsewhere.
        wanted, (_, most) = int(self.one("LimitNOFILE", "1024")), getrlimit(RLIMIT_NOFILE)
        files = wanted if most == RLIM_INFINITY else min(wanted, most)
        return [
            *("prlimit", f"--nofile={files}:{files}"),
            *("nice", "-n", self.one("Nice", "0")),
            *("setpriv", "--no-new-privs"),
        ]

    def _command(self, line: str) -> None:
        flags = line[: len(line) - len(line.lstrip("+-@:!"))]
        command = shlex.split(line[len(flags) :])
        try:
            said = self.machine.run(*command, env={"INVOCATION_ID": "0" * 32})
        except BuildError:
            if "-" not in flags:
                raise
            said = b""
        with self._log.open("ab") as log:
            log.write(said)

    def _environment(self) -> dict[str, str]:
        pairs = (
            word.partition("=") for line in self.service.get("Environment", []) for word in shlex.split(line)
        )
        given = {name: value for name, _, value in pairs}
        return {"PATH": PATH, "NOTIFY_SOCKET": f"/{NOTIFY.format(self.name)}", **given}

    def _listen(self) -> None:
        if self.notify:
            self.notify.close()
        self._notify.unlink(missing_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        directory = os.open(self._notify.parent, os.O_PATH)
        try:
            # A socket's path has at most 107 bytes; this one is short wherever the root lies.
            self.notify.bind(f"/proc/self/fd/{directory}/{self._notify.name}")
        finally:
            os.close(directory)
        self._notify.chmod(0o777)
        self.notify.setblocking(False)  # noqa: FBT003 - the socket module's own signature

    def ready(self) -> bool:
        """Tell whether it has said READY=1 since the last question; then ExecStartPost has run."""
        assert self.notify
        try:
            while True:
                if b"READY=1" in self.notify.recv(4096):
                    for line in self.service.get("ExecStartPost", []):
                        self._command(line)
                    return True
        except BlockingIOError:
            return False

    def stop(self) -> None:
        """End it as `systemctl stop` would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):  # an etcdctl that has just had its answer
                os.kill(pid, number)
        if self.main:
            self.main.wait(timeout=35)
            self.main = None

    def crashed(self) -> bool:
        """Tell whether it has ended by itself since it was started."""
        return self.main is not None and self.main.poll() is not None

    def alive(self) -> bool:
        """Tell whether it runs."""
        return bool(self.processes())

    def processes(self) -> list[int]:
        """Return the numbers, as the host sees them, of the processes of the service."""
        return [pid for program in self.programs for pid in self.machine.processes(program)]

    def log(self) -> str:
        """Return all that it and what runs before it wrote."""
        return self._log.read_text(errors="replace")

    def back(self) -> None:
        """Do what systemd does after a crash: start it again, if the unit says so."""
        assert self.one("Restart", "no") == "always"
        self.start()
        until(f"{self.name} runs again on {self.machine.name}", self.alive)

    def obey(self) -> None:
        """Do from now on what `systemctl` is asked in the machine; a restart is over when etcd is ready."""
        for name in ("ask", "answer"):
            os.mkfifo(self.root / f"run/systemd.{name}")
        threading.Thread(target=self._obey, daemon=True).start()

    def _obey(self) -> None:
        with suppress(OSError, BuildError):  # the machine has ended
            while True:
                # Opening waits for somebody who asks, and for somebody who reads the answer.
                asked = (self.root / "run/systemd.ask").read_text().split()
                if asked[0] == "reload-or-restart":
                    self._again(asked[1])
                (self.root / "run/systemd.answer").write_text("0\n")

    def _again(self, name: str) -> None:
        reload = read_unit((self.root / UNIT.format(name)).read_text())["Service"].get("ExecReload", [])
        for line in reload:
            self._command(line)
        if name == self.name and not reload:
            self.stop()
            self.start()
            until(f"{name} is ready again on {self.machine.name}", self.ready, seconds=RESTARTING)

    def close(self) -> None:
        """Let go of what is left, after the machine has ended."""
        if self.main:
            self.main.wait(timeout=10)
        if self.notify:
            self.notify.close()


def _numbers(root: Path, user: str, group: str) -> str:
    users = dict(line.split(":")[0:3:2] for line in (root / "etc/passwd").read_text().splitlines())
    groups = dict(line.split(":")[0:3:2] for line in (root / "etc/group").read_text().splitlines())
    return f"{users[user]}:{groups[group]}"
