"""The operator at the desk: the tool as it is typed, and somebody who writes all the time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import run
from nodebake.errors import BuildError
from nodebake.lab.writer import Writer, writing
from tests.need import ROOT
from tests.patience import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.cluster.cluster import Desk

LONGEST = 400  # seconds for one command of the tool
SOME = 5  # keys
DROPPED = "raft proposal dropped"  # says etcd, and nothing was written
GAP = "gap:"  # begins a line of a test's output that is shown in the end
SERVED = ("n1", "n2", "n3")  # the members of the fixture `served`


@dataclass(frozen=True, slots=True)
class Tool:
    """`./invoke` at the desk, with one cluster's places."""

    desk: Desk
    profile: Path
    vault: Path
    identity: Path | None = None

    def argv(self, task: str, *words: str) -> list[str]:
        """Return the command line of a task."""
        places = [
            "--profile",
            str(self.profile),
            "--vault",
            str(self.vault),
            "--out",
            str(self.desk.built.out),
        ]
        own = ["--identity", str(self.identity)] if "--push" in words and self.identity else []
        python = [sys.executable, "-P", "-m", "nodebake", "--search-root", str(ROOT)]
        env = ["env", f"PYTHONPATH={ROOT}", f"PATH={os.environ['PATH']}"]
        return self.desk.box.argv(*env, *python, task, *places, *words, *own)

    def run(self, task: str, *words: str) -> str:
        """Run a task to its end and return what it said; BuildError if it fails."""
        return run(self.argv(task, *words), timeout=LONGEST).decode()

    def killed(self, when: Callable[[], bool], task: str, *words: str) -> bool:
        """Start a task and kill -9 it as soon as something is so; tell whether it had not ended by itself."""
        with subprocess.Popen(self.argv(task, *words), stderr=subprocess.DEVNULL) as process:  # noqa: S603 - ours
            while process.poll() is None:
                # What was started is nsenter, which the tool would outlive; on a slow machine it comes late.
                for pid in self.desk.box.processes(Path(sys.executable).name) if when() else ():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)
        return process.returncode == -signal.SIGKILL

    def refused(self, task: str, *words: str) -> str:
        """Run a task that must fail, and return what it said."""
        try:
            said = self.run(task, *words)
        except BuildError as error:
            return str(error)
        raise AssertionError(f"was not refused: {task} {words}\n{said}")


@dataclass(slots=True)
class Putter:
    """Puts keys through the endpoints, or any member, and counts what was not acknowledged at once."""

    desk: Desk
    endpoints: str = ""
    failures: list[str] = field(default_factory=list)

    def put(self, key: str, value: str) -> None:
        """Put a key; BuildError if it was not acknowledged."""
        env = {"ETCDCTL_ENDPOINTS": self.endpoints} if self.endpoints else {}
        try:
            self.desk.etcdctl("put", key, value, env=env)
        except BuildError as error:
            self.failures.append(str(error))
            raise


@contextmanager
def busy(
    desk: Desk,
    prefix: str,
    *,
    new_leader: bool = False,
    handed_over: bool = False,
    members: Sequence[str] = (),
) -> Iterator[Writer]:
    """Have somebody write to the end of the block: no request may fail, and no acknowledged key be lost.

    They write through any member, or through `members`. With `new_leader` requests may fail: what the old one
    was asked last nobody answers. With `handed_over` a leader is restarted: while it hands over, raft drops
    proposals, and who made one is told so.

    The longest time between two acknowledgements after each `mark` is shown when all tests have run.
    """
    putter = Putter(desk, ",".join(desk.endpoint(name) for name in members))
    with writing(putter, prefix, clock=time.monotonic) as writer:
        writer.mark("undisturbed")
        until("the first keys are acknowledged", lambda: writer.count >= SOME)
        yield writer
        count = writer.count
        until("keys are acknowledged still", lambda: writer.count >= count + SOME)
    for gap in writer.stalls():
        print(f"{GAP} {gap.seconds:.3f} s: {gap.why}")  # noqa: T201 - the figures
    env = {"ETCDCTL_ENDPOINTS": putter.endpoints} if putter.endpoints else {}
    lines = desk.etcdctl("get", "--prefix", prefix, env=env).splitlines()
    there = dict(zip(lines[::2], lines[1::2], strict=True))
    assert {key: there.get(key) for key in writer.acknowledged} == writer.acknowledged
    failures = [one for one in putter.failures if not (handed_over and DROPPED in one)]
    assert new_leader or failures == [], "\n".join(failures)
