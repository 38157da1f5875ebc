"""Machines without hardware: Linux namespaces that end with the test, however it ends.

Nothing is named outside them, so runs cannot meet: the bridge lives in a namespace of its own, and every
namespace is held by a process that ends when the pipe from the test closes, be it by a SIGKILL.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import PATH, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ipaddress import IPv4Interface, IPv6Interface
    from types import TracebackType
    from typing import BinaryIO, Self

HOLD = Path(__file__).parent / "hold.sh"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C", "HOME": "/root"}


@dataclass(slots=True)
class Namespace:
    """Network, mount, process, host-name and IPC namespaces of one machine.

    Attributes:
        name: its host name.
        root: directory that is its root file system; None for a machine that uses the host's.
        holder: the process that keeps the namespaces alive.
    """

    name: str
    root: Path | None = None
    holder: subprocess.Popen[bytes] = field(init=False)

    def open(self, *, data: str | None = None) -> Self:
        """Make the namespaces, with a file system of its own in memory at `data` if that is given."""
        argv = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        argv += ["--propagation", "private", "sh", str(HOLD), self.name]
        argv += [str(self.root), data or ""] if self.root else []
        self.holder = subprocess.Popen(  # noqa: S603 - a fixed argv; it must outlive this call
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
        )
        assert self.holder.stdout is not None
        said = self.holder.stdout.readline()
        assert said == b"up\n", f"the namespaces of {self.name} could not be made"
        return self

    def close(self) -> None:
        """End every process, mount and interface of the machine."""
        if self.holder.poll() is not None:
            return
        network = os.open(f"/proc/{self.holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._end()
            # A connection to somebody who is gone keeps its network for minutes, and that would go on
            # answering for its addresses, which may be another machine's by then.
            enter = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{network}"]
            run([*enter, "ip", "link", "set", "group", "default", "down"])
        finally:
            os.close(network)

    def _end(self) -> None:
        for end in (self.holder.stdin, self.holder.stdout):
            if end:
                end.close()
        try:
            self.holder.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.holder.kill()
            self.holder.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def argv(self, *words: str | Path) -> list[str]:
        """Return the command line that runs `words` in the machine, in its root if it has one."""
        own = f"/proc/{self.holder.pid}/ns"
        enter = ["nsenter", *(f"--{kind}={own}/{name}" for kind, name in _KINDS)]
        chroot = ["chroot", str(self.root)] if self.root else []
        return [*enter, *chroot, *map(str, words)]

    def run(self, *words: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        """Run a command in the machine to its end and return what it wrote; BuildError if it fails."""
        return run(self.argv(*words), stdin=stdin, env=env, timeout=60)

    def spawn(self, argv: Sequence[str], *, log: BinaryIO, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a full command line (from `argv`) that goes on running, with its output in `log`."""
        return subprocess.Popen(  # noqa: S603 - a fixed argv; it must outlive this call
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(env), umask=0o077
        )

    def processes(self, program: str) -> list[int]:
        """Return the numbers, as the host sees them, of the machine's processes that run `program`."""
        own = Path(f"/proc/{self.holder.pid}/ns/pid_for_children").readlink()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                if (process / "ns/pid").readlink() == own and _runs(program, words):
                    found.append(int(process.name))
            except OSError:  # it ended meanwhile
                continue
        return found


def _runs(program: str, words: list[bytes]) -> bool:
    # An emulated program's command line begins with the emulator's, a script's with the shell's.
    names = [word.rpartition(b"/")[2] for word in words]
    if b"qemu" in words[0]:
        names = names[1:]
    if names[:1] == [b"sh"]:
        names = names[1:]
    return names[:1] == [program.encode()]


_KINDS = (
    ("net", "net"),
    ("mount", "mnt"),
    ("uts", "uts"),
    ("ipc", "ipc"),
    ("pid", "pid_for_children"),
)


def switch() -> Namespace:
    """Return an open namespace that has nothing but a bridge, `br0`."""
    bridge = Namespace("switch").open()
    bridge.run("ip", "-batch", "-", stdin=b"link add br0 type bridge\nlink set br0 up\n")
    return bridge


def plug(
    bridge: Namespace, machine: Namespace, interface: str, addresses: Sequence[IPv4Interface | IPv6Interface]
) -> None:
    """Connect a machine to the bridge by an interface with these addresses."""
    port = f"p{machine.holder.pid}"
    wire = (
        f"link add {port} type veth peer name {interface} netns {machine.holder.pid}\n"
        f"link set {port} master br0 up\n"
    )
    # Only the network namespace: the number of the other process must mean the same to ip.
    run(["nsenter", f"--net=/proc/{bridge.holder.pid}/ns/net", "ip", "-batch", "-"], stdin=wire.encode())
    lines = [f"link set {interface} up"]
    # Without duplicate address detection, which would keep an IPv6 address from being bound for a second.
    nodad = {4: "", 6: " nodad"}
    lines += [f"address add {address} dev {interface}{nodad[address.version]}" for address in addresses]
    enter = ["nsenter", f"--net=/proc/{machine.holder.pid}/ns/net", "ip", "-batch", "-"]
    run(enter, stdin="\n".join(lines).encode() + b"\n")
