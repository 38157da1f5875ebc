"""A running cluster, asked and told through etcdctl with the operator's certificate."""

from __future__ import annotations

import json
import platform
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nodebake import command
from nodebake.components.etcd import EtcdPart
from nodebake.errors import BuildError, SafetyError
from nodebake.progress import Silent
from nodebake.sources import Sources, Want
from nodebake.upkeep.artefacts import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nodebake.pipeline import Options
    from nodebake.plan import NodePlan, Plan

_MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
_PAUSE = 0.5  # seconds between two questions
_PATIENCE = 180  # seconds; a small board starts slowly
_STARTING = 30  # seconds for a member that was restarted a moment ago
_ANSWER = 5  # seconds for one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member as the cluster lists it.

    Attributes:
        id: hexadecimal.
        name: the node's name; empty for one that was added and has not started.
        peer_urls: where other members find it.
        client_urls: where clients find it; none for one that has not started.
        learner: it does not vote.
    """

    id: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool

    @property
    def started(self) -> bool:
        """It has run, so that it may hold data."""
        return bool(self.client_urls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a member says of itself.

    Attributes:
        id: hexadecimal.
        version: the etcd that runs there.
        leads: whether it leads.
    """

    id: str
    version: str
    leads: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Etcdctl:
    """etcdctl at the operator's desk.

    Attributes:
        plan: the cluster.
        program: etcdctl, for this machine.
        desk: the directory of the operator's files.
    """

    plan: Plan
    program: Path
    desk: Path

    def endpoint(self, node: NodePlan) -> str:
        """Return a member's URL for clients."""
        return f"https://{node.url_host}:{self.plan.part(EtcdPart).client_port}"

    def peer_url(self, node: NodePlan) -> str:
        """Return a member's URL for other members."""
        return f"https://{node.url_host}:{self.plan.part(EtcdPart).peer_port}"

    def healthy(self) -> tuple[str, ...]:
        """Return the members through which the cluster takes requests now."""
        names = {self.endpoint(node): node.name for node in self.plan.members}
        good = self.through(list(names))
        return tuple(name for endpoint, name in names.items() if endpoint in good)

    def leader(self) -> str:
        """Return the name of the node that leads; empty if nobody says."""
        for node in self.plan.members:
            told = self._json(["endpoint", "status"], [self.endpoint(node)], accept=(0, 1))
            status = told[0]["Status"] if told else {}
            if status and status.get("leader") == status["header"]["member_id"]:
                return node.name
        return ""

    def members(self) -> tuple[Member, ...]:
        """Return the members, as a quorum knows them.

        Raises:
            BuildError: no quorum answered.
        """
        try:
            told = self._json(["member", "list"], self._all())
        except BuildError as error:
            if "learner" not in str(error):
                raise
            told = self._listed_by_a_voter(error)
        return tuple(
            Member(
                id=f"{row['ID']:x}",
                name=row.get("name", ""),
                peer_urls=tuple(row["peerURLs"]),
                client_urls=tuple(row.get("clientURLs", ())),
                learner=row.get("isLearner", False),
            )
            for row in told["members"]
        )

    def _listed_by_a_voter(self, why: BuildError) -> Any:  # noqa: ANN401 - JSON
        """Ask one after the other: a learner, which may be among them, knows no list."""
        for endpoint in self._all():
            with suppress(BuildError):
                return self._json(["member", "list"], [endpoint])
        raise why

    def through(self, urls: Sequence[str]) -> frozenset[str]:
        """Return those of the members' URLs for clients through which the cluster takes requests now."""
        told = self._json(["endpoint", "health"], urls, accept=(0, 1)) if urls else None
        return frozenset(row["endpoint"] for row in told or [] if row["health"])

    def statuses(self, urls: Sequence[str]) -> Mapping[str, Status]:
        """Return what the members say of themselves, by their URLs for clients; who is silent is absent."""
        told = self._json(["endpoint", "status"], urls, accept=(0, 1)) if urls else None
        found = {}
        for row in told or []:
            status = row["Status"]
            number = status["header"]["member_id"]
            found[row["Endpoint"]] = Status(
                id=f"{number:x}", version=status["version"], leads=status.get("leader") == number
            )
        return found

    def hand_over(self, node: NodePlan) -> None:
        """Have another member lead, if `node` does, so that its end interrupts nobody.

        Raises:
            BuildError: leadership could not be handed over.
        """
        if self.leader() != node.name:
            return
        others = [one.name for one in self.plan.members if one.name != node.name]
        heir = next((one for one in self.members() if one.name in others and not one.learner), None)
        if heir:
            self.run(["move-leader", heir.id], endpoints=[self.endpoint(node)])

    def wait(self, nodes: Sequence[NodePlan]) -> None:
        """Wait until the cluster takes requests through all of `nodes`.

        Raises:
            BuildError: it does not come to that.
        """
        names, end = {node.name for node in nodes}, time.monotonic() + _PATIENCE
        while missing := names - set(self.healthy()):
            if time.monotonic() > end:
                raise BuildError(
                    f"not healthy after {_PATIENCE} s: {', '.join(sorted(missing))}",
                    hint="look at etcd's log there; when it is healthy, run the same again",
                )
            time.sleep(_PAUSE)

    def all_healthy(self, why: str) -> None:
        """See to it that no member is missing before one is disturbed; one that starts is waited for.

        Args:
            why: what needs it, for the message.

        Raises:
            SafetyError: one is missing.
        """
        end = time.monotonic() + _STARTING
        while missing := {node.name for node in self.plan.members} - set(self.healthy()):
            if time.monotonic() > end:
                raise SafetyError(
                    f"not healthy: {', '.join(sorted(missing))}; {why} needs every member",
                    hint="bring it back first, then run the same again",
                )
            time.sleep(_PAUSE)

    def run(
        self, words: Sequence[str], *, endpoints: Sequence[str] = (), accept: tuple[int, ...] = (0,)
    ) -> str:
        """Run etcdctl and return what it said.

        Raises:
            BuildError: it failed.
        """
        argv = [
            str(self.program),
            f"--endpoints={','.join(endpoints or self._all())}",
            f"--cacert={self.desk / 'ca.crt'}",
            f"--cert={self.desk / 'admin.crt'}",
            f"--key={self.desk / 'admin.key'}",
            f"--dial-timeout={_ANSWER}s",
            f"--command-timeout={_ANSWER * 2}s",
        ]
        return command.run([*argv, *words], env={"ETCDCTL_API": "3"}, accept=accept).decode()

    def _json(self, words: Sequence[str], endpoints: Sequence[str], *, accept: tuple[int, ...] = (0,)) -> Any:  # noqa: ANN401 - JSON
        text = self.run([*words, "--write-out=json"], endpoints=endpoints, accept=accept)
        try:
            return json.loads(text)
        except ValueError:
            return None

    def _all(self) -> list[str]:
        return [self.endpoint(node) for node in self.plan.members]


def etcdctl(plan: Plan, options: Options) -> Etcdctl:
    """Return etcdctl for this machine, of the plan's version; it is kept in the cache.

    Raises:
        InputError: it could not be had.
    """
    machine = platform.machine().lower()
    arch = _MACHINES.get(machine, machine)
    version = plan.part(EtcdPart).version
    want = Want(name="etcd", version=version, arch=arch, files=("etcd", "etcdctl"))
    sources = Sources.of(options, Silent())
    content = sources.fetch(want).files["etcdctl"]
    return Etcdctl(
        plan=plan, program=_program(options.cache / "desk", version, content), desk=options.out / OPERATOR
    )


def _program(directory: Path, version: str, content: bytes) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = directory / f"etcdctl-{version}"
    if not program.exists() or program.read_bytes() != content:
        new = directory / f"{program.name}.new"
        new.write_bytes(content)
        new.chmod(0o755)
        new.replace(program)
    return program
