"""A cluster of machines on a bridge, and the operator's desk on the same bridge."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TYPE_CHECKING, Any, Never

from nodebake.errors import BuildError
from nodebake.lab import components
from nodebake.lab.judge import Judge
from nodebake.lab.network import Network
from nodebake.lab.rack import Rack
from nodebake.lab.stranger import stranger
from nodebake.progress import Silent
from tests.cluster.machine import Machine, boot, unpack
from tests.cluster.namespace import Namespace, plug, switch
from tests.patience import GaveUpError, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.cluster.built import Built

FORMING = 180
SOURCE = '. "$1"; shift; exec "$@"'


@dataclass(frozen=True, slots=True)
class Desk:
    """A machine of the operator's, with the build's operator files."""

    built: Built
    box: Namespace
    etcdctl_path: Path

    def etcdctl(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """Run etcdctl after sourcing the build's environment file; BuildError if it fails."""
        given = ["env", *(f"{name}={value}" for name, value in (env or {}).items())]
        sourced = ["bash", "-c", SOURCE, "bash", str(self.built.operator / "etcdctl.env"), *given]
        return self.box.run(*sourced, self.etcdctl_path, "--command-timeout=10s", *words).decode()

    def curl(self, url: str, *words: str, admin: bool = True) -> str:
        """Ask a member over TLS, with the operator's certificate unless told otherwise."""
        home = self.built.operator
        key = ["--cert", str(home / "admin.pem")] if admin else []
        trust = ["--cacert", str(home / "ca.crt"), *key]
        return self.box.run(
            "curl", "--silent", "--show-error", "--max-time", "10", *trust, *words, url
        ).decode()

    def endpoint(self, name: str) -> str:
        """Return a member's client URL."""
        return f"https://{self.built.plan.node(name).url_host}:{self.built.plan.profile.etcd.client_port}"

    def healthy(self) -> bool:
        """Tell whether every member says that it is healthy."""
        answers = json.loads(self.etcdctl("endpoint", "health", "--cluster", "--write-out=json"))
        return len(answers) == len(self.built.plan.members) and all(one["health"] for one in answers)

    def members(self) -> list[dict[str, Any]]:
        """Return `member list`."""
        answer: list[dict[str, Any]] = json.loads(self.etcdctl("member", "list", "--write-out=json"))[
            "members"
        ]
        return answer


@dataclass(slots=True)
class Cluster:
    """The machines of a build, with a desk; closes everything it opened."""

    built: Built
    work: Path
    bridge: Namespace
    desk: Desk
    machines: dict[str, Machine] = field(default_factory=dict)

    def add(self, name: str, *, data: bool = True, build: Built | None = None) -> Machine:
        """Boot a node, of another build if one is given, without starting its etcd."""
        built = build or self.built
        node = built.plan.node(name)
        root = self.work / node.name
        unpack(built, node, root)
        self.machines[name] = boot(built, node, root, bridge=self.bridge, data=data)
        return self.machines[name]

    def start(self) -> None:
        """Boot every member and start its etcd."""
        for node in self.built.plan.members:
            self.add(node.name).service.start()

    def writes(self, *names: str, key: str = "foo", value: str = "bar") -> bool:
        """Tell whether a value can be put and got through each of these members."""
        for name in names:
            through = {"ETCDCTL_ENDPOINTS": self.desk.endpoint(name)}
            put = self.desk.etcdctl("put", key, value, env=through)
            got = self.desk.etcdctl("get", key, "--print-value-only", env=through)
            assert (put, got) == ("OK\n", f"{value}\n")
        return True

    def formed(self) -> None:
        """Wait until the whole cluster is healthy; show every log if it does not get there."""

        def whole() -> bool:
            crashed = [name for name, one in self.machines.items() if one.service.crashed()]
            assert not crashed, f"etcd has ended on {crashed}\n{self.told()}"
            return self.desk.healthy()

        try:
            until("all members are healthy", whole, seconds=FORMING)
        except GaveUpError as error:
            raise GaveUpError(f"{error}\n{error.__cause__}\n{self.told()}") from error

    def judged(self) -> list[str]:
        """Have what the lab asks of components asked here, and return what held; there are no consoles."""
        network = Network(entrance=tuple(self.desk.box.argv()), addresses=(), started=[], sockets=self.work)
        operator = self.built.operator
        judge = Judge(
            plan=self.built.plan,
            network=network,
            etcdctl=self.desk.etcdctl_path,
            operator=operator,
            stranger=stranger(operator=operator, work=self.work),
        )
        rack = Rack(
            plan=self.built.plan,
            machines={},
            judge=judge,
            progress=Silent(),
            clock=time.monotonic,
            spare=_no_spare,
            patience=60,
        )
        components.check(rack)
        return [one.name for one in rack.checks]

    def told(self) -> str:
        """Return the end of every etcd's log."""
        return "\n".join(machine.told() for machine in self.machines.values())

    def refused(self, *words: str) -> str:
        """Run a command at the desk that must fail, and return what it said."""
        try:
            said = self.desk.box.run(*words)
        except BuildError as error:
            return str(error)
        raise AssertionError(f"was not refused: {' '.join(words)}\n{said.decode()}")

    def close(self) -> None:
        """End every machine, the desk and the bridge."""
        for machine in self.machines.values():
            machine.close()
        self.desk.box.close()
        self.bridge.close()
        shutil.rmtree(self.work, ignore_errors=True)


def _no_spare(name: str, label: str) -> Never:
    raise NotImplementedError(name, label)


@contextmanager
def empty(built: Built, work: Path, etcdctl: Path) -> Iterator[Cluster]:
    """Give a bridge with the operator's desk, to boot machines on; show the logs if the test fails."""
    work.mkdir(parents=True)
    bridge = switch()
    desk = Desk(built, Namespace("desk").open(), etcdctl)
    cluster = Cluster(built, work, bridge, desk)
    try:
        plug(bridge, desk.box, "eth0", [desk_address(node) for node in built.plan.members[0].interfaces])
        yield cluster
    except BaseException:
        print(cluster.told())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        cluster.close()


def desk_address(taken: str) -> IPv4Interface | IPv6Interface:
    """Return an address for the desk in the network of `taken`, near its end."""
    network = ip_interface(taken).network
    return ip_interface(f"{network[-4]}/{network.prefixlen}")
