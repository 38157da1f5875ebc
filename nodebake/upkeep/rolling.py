"""Bringing what changed to the nodes, one after the other, so that the cluster never misses two members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.errors import BuildError
from nodebake.upkeep.artefacts import OPERATOR
from nodebake.upkeep.presented import presented

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nodebake.manifest import Artifact
    from nodebake.pipeline.bakery import Bakery
    from nodebake.plan import NodePlan
    from nodebake.progress import Progress
    from nodebake.upkeep.etcdctl import Etcdctl
    from nodebake.upkeep.ssh import Ssh
    from nodebake.vault import Vault

PUSHED = "pushed"


def _nothing_to_see(node: NodePlan) -> None:
    """See to nothing: a list of revoked certificates shows only to those who are on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a round over the nodes needs.

    Attributes:
        oven: knows the nodes and where their renewals lie.
        vault: remembers which nodes have theirs.
        ssh: logs in to them.
        progress: told of each node.
    """

    oven: Bakery
    vault: Vault
    ssh: Ssh
    progress: Progress

    def lay(
        self, archives: Mapping[str, Artifact], seen: Callable[[NodePlan], None] = _nothing_to_see
    ) -> None:
        """Lay each renewal over its node; `seen` sees to it that it has come to something.

        Raises:
            BuildError: a node did not take it, or `seen` did not see what it should.
        """
        for name, archive in archives.items():
            node = self.oven.plan.node(name)
            self.ssh.lay(node, self.oven.out / archive.path)
            self._done(node, seen)

    def restart(
        self, archives: Mapping[str, Artifact], ctl: Etcdctl, seen: Callable[[NodePlan], None]
    ) -> None:
        """Do the same with renewals that restart etcd: each member is back before the next one goes.

        Raises:
            SafetyError: a member is missing already.
            BuildError: as `lay`, or a member does not come back.
        """
        if not archives:
            return
        ctl.all_healthy("restarting one after the other")
        # The leader is the last, so that leadership changes hands once, to a member that is done.
        leader = ctl.leader()
        for name in sorted(archives, key=lambda name: name == leader):
            node, member = self.oven.plan.node(name), self.oven.plan.node(name).role == "member"
            if member:
                ctl.hand_over(ctl.endpoint(node))
            self.ssh.lay(node, self.oven.out / archives[name].path)
            if member:
                ctl.wait([node])
            self._done(node, seen)

    def presents(self, node: NodePlan) -> None:
        """See to it that a member presents the certificates that it was given.

        Raises:
            BuildError: it does not.
        """
        current = {row.key: row.facts.serial for row in self.vault.ledger()}
        for one in presented(self.oven.plan, self.oven.out / OPERATOR, member=node.name):
            wanted = current[one.node, one.name]
            if one.serial != wanted:
                found = f"presents {one.serial}" if one.serial else f"does not answer ({one.error})"
                raise BuildError(
                    f"{node.name} port {one.port} {found}, not the new certificate {wanted}",
                    hint="look at etcd's log on the node; then run the same again",
                )

    def _done(self, node: NodePlan, seen: Callable[[NodePlan], None]) -> None:
        if node.role == "member":
            seen(node)
        self.vault.place([node.name], PUSHED)
        self.progress.note(f"{node.name}: done")
