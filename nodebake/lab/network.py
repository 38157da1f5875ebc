"""A network of its own: namespaces with one bridge, a tap per machine and an address for the operator.

Every process of a lab runs in one PID namespace whose init reads a pipe from us. When we end, in whatever
way, the pipe closes, init removes what we would have removed, and ends; and the kernel kills all the rest:
pid_namespaces(7).
"""

from __future__ import annotations

import ipaddress
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from nodebake.command import find, run, start
from nodebake.errors import BuildError, InputError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Collection, Iterable, Iterator, Sequence

BRIDGE = "lab"
_TUN = Path("/dev/net/tun")
_HOLD = 'echo ready; cat >/dev/null; rm -rf -- "$@"'
_WITHOUT_LINKS = (31, 127)  # the longest IPv4 and IPv6 prefixes leave no address for an operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A running private network.

    Attributes:
        entrance: the words in front of a command that run it inside.
        addresses: the operator's, with prefix.
        sockets: a directory for sockets with a short name, as their paths may have 107 bytes only: unix(7).
        started: what was started in it.
    """

    entrance: tuple[str, ...]
    addresses: tuple[str, ...]
    sockets: Path
    started: list[subprocess.Popen[bytes]]

    def run(
        self, argv: Sequence[str | Path], *, timeout: float = 30, accept: Collection[int] = (0,)
    ) -> bytes:
        """Run `argv` inside, as `command.run` does."""
        return run([*self.entrance, *argv], timeout=timeout, accept=accept)

    def start(self, argv: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        """Start `argv` inside, as `command.start` does; killing the process kills `argv`."""
        process = start([*self.entrance, *argv])
        self.started.append(process)
        return process

    def add_tap(self, name: str) -> None:
        """Make a tap interface on the bridge, for one machine."""
        self.run(["ip", "tuntap", "add", "dev", name, "mode", "tap"])
        self.run(["ip", "link", "set", name, "master", BRIDGE, "up"])


@contextmanager
def private_network(
    interfaces: Iterable[str], *, gateways: Iterable[str] = (), litter: Iterable[Path] = ()
) -> Iterator[Network]:
    """Make the network in which `interfaces` are neighbours; everything in it dies at the end.

    Args:
        interfaces: the machines' addresses with prefix, `192.168.7.11/24`.
        gateways: addresses the operator's side takes, as machines expect somebody there.
        litter: directories that are removed at the end, even if we are killed.

    Raises:
        InputError: a tool is missing, or this user may not make namespaces or tap interfaces.
    """
    addresses = operator_addresses(interfaces, gateways)
    for tool, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2")):
        find(tool, package=package)
    if not os.access(_TUN, os.R_OK | os.W_OK):
        raise InputError(
            f"{_TUN} cannot be opened, so machines cannot be joined to a network",
            hint="run as root: modprobe tun && chmod 0666 /dev/net/tun; or run the lab as root",
        )
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    sockets = Path(mkdtemp(prefix="nodebake-"))
    space = ["unshare", *user, "--net", "--pid", "--fork", "--kill-child", "--"]
    holder = start([*space, "sh", "-c", _HOLD, "sh", sockets, *(path.absolute() for path in litter)])
    started: list[subprocess.Popen[bytes]] = []
    try:
        network = Network(
            entrance=_entrance(holder, bool(user)), addresses=addresses, sockets=sockets, started=started
        )
        _build(network)
        yield network
    finally:
        holder.communicate()
        _reap(started)
        rmtree(sockets, ignore_errors=True)  # still there if the namespaces could not be made


def operator_addresses(interfaces: Iterable[str], gateways: Iterable[str] = ()) -> tuple[str, ...]:
    """Return one address with prefix in each of the machines' networks.

    It is the gateway's if that lies there, or else the highest one that is free.
    """
    machines = [ipaddress.ip_interface(text) for text in interfaces]
    taken = {machine.ip for machine in machines}
    wanted = [ipaddress.ip_address(text) for text in gateways]
    found: dict[str, str] = {}
    for network in sorted({machine.network for machine in machines}, key=str):
        if network.prefixlen in _WITHOUT_LINKS or network.num_addresses == 1:
            continue
        last = int(network.broadcast_address) - (network.version == 4)  # noqa: PLR2004 - only IPv4 has a broadcast
        highest = (type(network.network_address)(last - step) for step in range(len(taken) + 1))
        free = (address for address in highest if address not in taken)
        address = next((gateway for gateway in wanted if gateway in network), None) or next(free)
        found[str(network)] = f"{address}/{network.prefixlen}"
    return tuple(found.values())


def _entrance(holder: subprocess.Popen[bytes], with_user: bool) -> tuple[str, ...]:  # noqa: FBT001 - said by name at the only call
    said = holder.stdout.readline() if holder.stdout else b""
    if said != b"ready\n":
        holder.kill()
        raise InputError(
            f"this user may not make namespaces: {said.decode(errors='replace').strip()}",
            hint="run the lab as root, or allow it: sysctl kernel.unprivileged_userns_clone=1",
        )
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text(encoding="ascii").split()
    user = ("--user", "--preserve-credentials") if with_user else ()
    # nsenter stays outside as the parent: whoever kills it has killed what it started.
    return (
        *("nsenter", "--target", children[0], *user, "--net", "--pid", "--"),
        *("setpriv", "--pdeathsig", "KILL", "--"),
    )


def _reap(started: Iterable[subprocess.Popen[bytes]]) -> None:
    """Wait for processes that have been killed, and close what is left of them."""
    for process in started:
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()


def _build(network: Network) -> None:
    try:
        network.run(["ip", "link", "set", "lo", "up"])
        network.run(["ip", "link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0"])
        for address in network.addresses:
            nodad = ["nodad"] if ":" in address else []
            network.run(["ip", "address", "add", address, "dev", BRIDGE, *nodad])
        network.run(["ip", "link", "set", BRIDGE, "up"])
    except BuildError as error:
        raise InputError(
            f"the private network cannot be made: {error}", hint="run the lab as root"
        ) from error
