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
from nodebake.upkeep.membership import Member, voters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from nodebake.pipeline import Options
    from nodebake.plan import NodePlan, Plan

_MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
_PAUSE = 0.5  # seconds between two questions
_PATIENCE = 180  # seconds; a small board starts slowly
_CHANGING = 120  # seconds for a change of members: after another one it is refused for a while
_STARTING = 30  # seconds for a member that was restarted a moment ago
_ANSWER = 5  # seconds for one answer


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
        return self.plan.part(EtcdPart).client_url(node)

    def peer_url(self, node: NodePlan) -> str:
        """Return a member's URL for other members."""
        return self.plan.part(EtcdPart).peer_url(node)

    def healthy(self) -> tuple[str, ...]:
        """Return the members through which the cluster takes requests now."""
        names = {self.endpoint(node): node.name for node in self.plan.members}
        good = self.through(list(names))
        return tuple(name for endpoint, name in names.items() if endpoint in good)

    def leader(self) -> str:
        """Return the name of the node that leads; empty if nobody says."""
        names = {self.endpoint(node): node.name for node in self.plan.members}
        told = self.statuses(list(names))
        return next((names[url] for url, status in told.items() if status.leads), "")

    def members(self) -> tuple[Member, ...]:
        """Return the members, as a quorum knows them.

        Raises:
            SafetyError: no quorum answered.
        """
        try:
            told = self._listed()
        except BuildError as error:
            raise SafetyError(
                "no quorum of the cluster answers, so that its members cannot be changed",
                hint="bring members back until a majority is healthy, or take a backup back; a cluster that "
                "was never started has no members to change yet: ./invoke build",
            ) from error
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

    def _listed(self) -> Any:  # noqa: ANN401 - JSON
        try:
            return self._json(["member", "list"], self._all())
        except BuildError as error:
            if "learner" not in str(error):
                raise
            # One after the other: a learner, which may be among them, knows no list.
            for endpoint in self._all():
                with suppress(BuildError):
                    return self._json(["member", "list"], [endpoint])
            raise

    def users(self, urls: Sequence[str]) -> frozenset[str]:
        """Return the names of etcd's users; a learner, which may be among the plan's members, knows none.

        Args:
            urls: whom to ask.

        Raises:
            BuildError: no quorum answered.
        """
        return frozenset(self.run(["user", "list"], endpoints=urls).split())

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

    def able(self, members: Iterable[Member]) -> frozenset[str]:
        """Return the ids of those voters through which the cluster takes requests now."""
        urls = voters(members)
        return frozenset(urls[url] for url in self.through(list(urls)))

    def hand_over(self, url: str) -> None:
        """Have another member lead, if the one with this URL for clients does, so that nobody misses it.

        Raises:
            SafetyError, BuildError: leadership could not be handed over.
        """
        leading = [status.id for status in self.statuses([url]).values() if status.leads]
        if leading and (heirs := self.able(self.members()) - {*leading}):
            self.run(["move-leader", min(heirs)], endpoints=[url])

    def change(
        self, words: Sequence[str], taken: Callable[[], bool], *, endpoints: Sequence[str] = ()
    ) -> None:
        """Have the cluster take a change of its members; what it refuses for some seconds is asked for again.

        Args:
            words: for etcdctl.
            taken: tells whether the cluster has taken it: an answer may be lost.
            endpoints: whom to tell; empty for any member.

        Raises:
            BuildError: it goes on refusing.
        """
        end = time.monotonic() + _CHANGING
        while True:
            try:
                self.run(words, endpoints=endpoints)
            except BuildError:
                with suppress(SafetyError):  # after a removal nobody may answer for a moment
                    if taken():
                        return
                if time.monotonic() > end:
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def wait(self, nodes: Sequence[NodePlan]) -> None:
        """Wait until the cluster takes requests through all of `nodes`.

        Raises:
            BuildError: it does not come to that.
        """
        if missing := self._missing(nodes, _PATIENCE):
            raise BuildError(
                f"not healthy after {_PATIENCE} s: {missing}",
                hint="look at etcd's log there; when it is healthy, run the same again",
            )

    def all_healthy(self, why: str) -> None:
        """See to it that no member is missing before one is disturbed; one that starts is waited for.

        Args:
            why: what needs it, for the message.

        Raises:
            SafetyError: one is missing.
        """
        if missing := self._missing(self.plan.members, _STARTING):
            raise SafetyError(
                f"not healthy: {missing}; {why} needs every member",
                hint="bring it back first, then run the same again",
            )

    def _missing(self, nodes: Sequence[NodePlan], seconds: float) -> str:
        """Return through which of `nodes` the cluster takes no requests, when they have had some time."""
        names, end = {node.name for node in nodes}, time.monotonic() + seconds
        while (missing := names - set(self.healthy())) and time.monotonic() < end:
            time.sleep(_PAUSE)
        return ", ".join(sorted(missing))

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
            f"--cert={self.desk / 'admin.pem'}",
            f"--key={self.desk / 'admin.pem'}",
            f"--dial-timeout={_ANSWER}s",
            f"--command-timeout={_ANSWER * 2}s",
        ]
        return command.run([*argv, *words], accept=accept).decode()

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
