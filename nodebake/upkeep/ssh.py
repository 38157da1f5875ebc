"""Laying a renewal over a running node, through ssh(1) with the host keys that the node was baked with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake import command
from nodebake.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.plan import NodePlan

# One at a time: when this program is killed, its ssh may live on for a while.
APPLY = "flock /run/nodebake-renewal.lock sh -c 'tar -C /run -xzf - && sh /run/nodebake-renewal/apply'"
_AGENT = "SSH_AUTH_SOCK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """How to log in to nodes, as root.

    Attributes:
        known_hosts: the operator's file; a host with another key is refused.
        identity: file of the private key; None for what ssh finds by itself.
        environ: where the agent's socket may be named.
    """

    known_hosts: Path
    identity: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    def lay(self, node: NodePlan, archive: Path) -> None:
        """Send a renewal to its node and have it laid over.

        Raises:
            BuildError: the node could not be reached, or its script failed; sending it again is safe.
        """
        argv = [command.find("ssh", package="openssh-client"), *self._options(), f"root@{node.ip}", APPLY]
        agent = {_AGENT: self.environ[_AGENT]} if _AGENT in self.environ else {}
        try:
            command.run(argv, stdin=archive.read_bytes(), env=agent)
        except BuildError as error:
            raise BuildError(
                f"{node.name} did not take its renewal: {error}",
                hint="see to it and run the same again; nodes that have theirs are left alone",
            ) from error

    def _options(self) -> list[str]:
        own = ["-i", str(self.identity), "-o", "IdentitiesOnly=yes"] if self.identity else []
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "15",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
        }
        return [*own, *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
