"""What an operator does to find out whether the cluster is up: etcdctl and curl, from outside."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodebake.command import find
from nodebake.components.etcd import EtcdPart
from nodebake.errors import BuildError
from nodebake.lab.network import BRIDGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nodebake.lab.network import Network
    from nodebake.plan import Plan

_REFUSED = (35, 52, 55, 56, 58)  # curl(1): the TLS or the HTTP exchange did not come about
# Seconds for one request; emulated members are slow at TLS. What is asked again and again may fail quickly;
# what is asked once is no worse for a late answer.
_QUICK, _PATIENT = 4, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """The operator's side of one cluster.

    Attributes:
        plan: the cluster.
        network: where the members are.
        etcdctl: the program, for this machine.
        operator: directory of the operator's files.
        stranger: certificate and key of a client of another authority.
    """

    plan: Plan
    network: Network
    etcdctl: Path
    operator: Path
    stranger: Path

    @property
    def admin(self) -> Path:
        """The operator's certificate and key."""
        return self.operator / "admin.pem"

    def url(self, name: str) -> str:
        """Return the client URL of the node `name`."""
        return self.plan.part(EtcdPart).client_url(self.plan.node(name))

    def health(self) -> dict[str, bool]:
        """Return for each member whether it serves linearizable requests over TLS."""
        names = {self.url(node.name): node.name for node in self.plan.members}
        told = self._json(["endpoint", "health"])
        healthy = {names[row["endpoint"]] for row in told or [] if row["health"]}
        return {name: name in healthy for name in names.values()}

    def status(self) -> list[dict[str, Any]]:
        """Return each answering member's `endpoint status`."""
        return self._json(["endpoint", "status"]) or []

    def leader(self) -> str:
        """Return the leader's node name, as the members that answer see it; empty if there is none."""
        rows = self.status()
        ids = {row["Status"]["header"]["member_id"]: row["Endpoint"] for row in rows}
        leaders = [row["Status"]["leader"] for row in rows if row["Status"]["leader"]]
        url = ids.get(leaders[0], "") if leaders else ""
        return next((node.name for node in self.plan.members if self.url(node.name) == url), "")

    def members(self) -> dict[str, str]:
        """Return the member list, name to peer URL."""
        told = json.loads(self._etcdctl(["member", "list", "--write-out=json"]))
        return {row["name"]: ",".join(row["peerURLs"]) for row in told["members"]}

    def put(self, key: str, value: str, *, via: Sequence[str] = (), patient: bool = False) -> None:
        """Put a key, through the nodes `via` or any member; that it returns is an acknowledgement.

        Raises:
            BuildError: the cluster did not acknowledge it within some seconds, or half a minute if `patient`.
        """
        seconds = _PATIENT if patient else _QUICK
        self._etcdctl(["put", key, value], endpoints=[self.url(name) for name in via], seconds=seconds)

    def owners(self, address: str) -> list[str]:
        """Return the MAC addresses of all machines that answer for an IPv4 address."""
        asked = [sys.executable, "-m", "nodebake.lab.arp", BRIDGE, address]
        env = f"PYTHONPATH={Path(__file__).parent.parent.parent}"
        return self.network.run(["env", env, *asked]).decode().split()

    def get(self, prefix: str, *, via: str = "") -> dict[str, str]:
        """Return the keys below `prefix`, asked of the node `via` or of any member."""
        text = self._etcdctl(["get", "--prefix", prefix], endpoints=[self.url(via)] if via else ())
        lines = text.decode().splitlines()
        return dict(zip(lines[::2], lines[1::2], strict=True))

    def desk(self) -> None:
        """Do what the build's last line says: source the operator's environment and ask for health.

        Raises:
            BuildError: it failed.
        """
        script = 'cd "$1" && . ./etcdctl.env && exec "$2" endpoint health --cluster --command-timeout=20s'
        self.network.run(["sh", "-c", script, "sh", self.operator, self.etcdctl.resolve()], timeout=60)

    def over_https(self, name: str) -> str:
        """Return what /health says to curl with the operator's certificate."""
        return self._curl(["--cert", str(self.admin), f"{self.url(name)}/health"]).decode()

    def answers(self, address: str, *, via: str) -> bool:
        """Say whether `address` answers a ping that the machine with the address `via` passes on."""
        self.network.run(["ip", "route", "replace", address, "via", via])
        words = ["-q", "-c", "1", "-W", str(_QUICK)]
        told = self.network.run([find("ping", package="iputils-ping"), *words, address], accept=(0, 1))
        return b" 1 received" in told

    def ask(self, url: str, *, authority: Path, identity: Path | None = None) -> str:
        """Return what a server of another authority says, and its status; what curl says if it does not."""
        own = ["--cert", str(identity)] if identity else []
        try:
            return self._curl([*own, "--write-out", " %{http_code}", url], authority=authority).decode()
        except BuildError as error:
            return str(error)

    def intruders(self, name: str) -> dict[str, bool]:
        """Return for each kind of client that must be turned away whether it was.

        A client that gets no answer for another reason counts as let in: that is no proof.
        """
        url = f"{self.url(name)}/health"
        plain = url.replace("https://", "http://")
        return {
            "without a certificate": self._refused(url),
            "with a certificate of another authority": self._refused(url, "--cert", str(self.stranger)),
            "without TLS": self._refused(plain),
        }

    def _refused(self, url: str, *identity: str) -> bool:
        try:
            told = self._curl([*identity, "--write-out", "\n%{http_code}", url], accept=(0, *_REFUSED))
        except BuildError:
            return False
        code = told.decode().rpartition("\n")[2]
        return re.fullmatch(r"000|400", code) is not None

    def _curl(
        self, words: Sequence[str], *, accept: tuple[int, ...] = (0,), authority: Path | None = None
    ) -> bytes:
        trusted = authority or self.operator / "ca.crt"
        options = ("--silent", "--max-time", str(_PATIENT), "--cacert", str(trusted))
        return self.network.run(["curl", *options, *words], timeout=2 * _PATIENT, accept=accept)

    def _json(self, words: Sequence[str]) -> Any:  # noqa: ANN401 - JSON
        """Return what etcdctl says; it exits with status 1 if any member does not answer."""
        text = self._etcdctl([*words, "--write-out=json"], accept=(0, 1), seconds=_QUICK)
        try:
            return json.loads(text)
        except ValueError:
            return None

    def _etcdctl(
        self,
        words: Sequence[str],
        *,
        endpoints: Sequence[str] = (),
        accept: tuple[int, ...] = (0,),
        seconds: int = _PATIENT,
    ) -> bytes:
        urls = endpoints or [self.url(node.name) for node in self.plan.members]
        return self.network.run(
            [
                *(self.etcdctl, f"--endpoints={','.join(urls)}", f"--cacert={self.operator / 'ca.crt'}"),
                *(f"--cert={self.admin}", f"--key={self.admin}"),
                *(f"--dial-timeout={seconds}s", f"--command-timeout={seconds}s", *words),
            ],
            timeout=2 * _PATIENT,
            accept=accept,
        )
