"""From the plan and the materials to the written artefacts of each node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake.components import chosen
from nodebake.components.contract import DESK, Baked, Desk, Materials
from nodebake.errors import about
from nodebake.formats import apkovl, nocloud, operator, rootfs
from nodebake.formats.packing import Shared
from nodebake.formats.writing import private
from nodebake.overlay import user_overlay
from nodebake.pipeline.abreast import abreast
from nodebake.provenance import bill
from nodebake.tree import merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from nodebake.manifest import Artifact, Manifest
    from nodebake.pki import HostKey, Leaf, LeafRequest
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress
    from nodebake.sources import Fetched
    from nodebake.tree import Tree
    from nodebake.vault.founding import Founding

FORMATS = {"apkovl": apkovl.write, "nocloud": nocloud.write, "rootfs": rootfs.write}


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What the vault gives for one build.

    Attributes:
        leaves: by holder and name.
        host_keys: SSH host keys by node.
        trust: the certificates of the authorities that nodes trust, PEM.
        revocations: the list of revoked certificates, DER.
        token: the cluster's etcd token.
        founding: how the cluster began, and who came later.
        authorities: certificates and keys of further authorities by name.
        secret: returns a secret of the cluster for one purpose.
    """

    leaves: Mapping[tuple[str, str], Leaf]
    host_keys: Mapping[str, HostKey]
    trust: bytes
    revocations: bytes
    token: str
    founding: Founding
    authorities: Mapping[str, Leaf]
    secret: Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bakery:
    """All that the nodes of one build have in common.

    Attributes:
        plan: the cluster.
        secrets: of all its nodes; each node gets its own.
        fetched: programs by the name they were wanted by.
        users: the user's own files.
        snapshot: what the members found the cluster from, if the vault says that it comes from one; without
            it they can only join.
        epoch: seconds since 1970 of everything that is written.
        out: the build's directory.
        digest: the plan's.
        licences: of the programs, by the names of their inputs.
    """

    plan: Plan
    secrets: Secrets
    fetched: Mapping[str, Fetched]
    users: Tree
    epoch: int
    out: Path
    digest: str
    licences: Mapping[str, str]
    snapshot: bytes = field(default=b"", repr=False)

    def nodes(
        self, nodes: Iterable[NodePlan], *, jobs: int, progress: Progress
    ) -> dict[str, tuple[Artifact, ...]]:
        """Bake and write `nodes`, `jobs` of them at once; return their artefacts by name.

        Raises:
            BuildError: a node could not be baked or written.
        """
        shared, task = Shared(epoch=self.epoch), f"baking {self.plan.name}"
        return abreast(nodes, lambda node: self._node(node, shared), task=task, jobs=jobs, progress=progress)

    def operator(self) -> tuple[Artifact, ...]:
        """Write the operator's files.

        Raises:
            BuildError: one could not be written.
        """
        desk = self._desk()
        files = {
            name: content
            for component in chosen(self.plan)
            for name, content in component.desk(self.plan, desk).items()
        }
        return operator.write(files, out=self.out, epoch=self.epoch)

    def holders(self, manifest: Manifest) -> dict[tuple[str, str], str]:
        """Return the artefact each certificate went into, by holder and name."""
        first = {name: items[0].path for name, items in manifest.nodes.items()}
        nodes = {key: first[key[0]] for key in self.secrets.leaves if key[0] in first}
        return nodes | self.desk_holders()

    def desk_holders(self) -> dict[tuple[str, str], str]:
        """Return the file each of the operator's own certificates went into, by holder and name."""
        desk = self._desk()
        return {
            (want.holder, want.name): f"{DESK}/{next(iter(component.desk(self.plan, desk)))}"
            for component in chosen(self.plan)
            for want in component.desk_leaves(self.plan)
        }

    def _desk(self) -> Desk:
        secrets = self.secrets
        leaves = {name: leaf for (holder, name), leaf in secrets.leaves.items() if holder == DESK}
        return Desk(
            leaves=leaves,
            trust=secrets.trust,
            authorities={name: pair.certificate for name, pair in secrets.authorities.items()},
            host_keys=secrets.host_keys,
        )

    def baked(self, node: NodePlan, materials: Materials) -> Baked:
        """Return all files of a node."""
        parts = [component.bake(self.plan, node, materials) for component in chosen(self.plan)]
        return Baked(
            root=merge(*(part.root for part in parts), self.users), boot=merge(*(part.boot for part in parts))
        )

    def _node(self, node: NodePlan, shared: Shared) -> tuple[Artifact, ...]:
        baked = self.baked(node, self.materials(node))
        out = private(self.out / node.name)
        written = tuple(
            artifact
            for kind in self.plan.profile.outputs
            for artifact in FORMATS[kind](self.plan, node, baked, out=out, epoch=self.epoch, shared=shared)
        )
        return *written, self._bill(baked, shared).write(node, written, out=out)

    def _bill(self, baked: Baked, shared: Shared) -> bill.Bill:
        programs = {path: entry for path, entry in baked.root.items() if entry.shared}

        def make() -> bill.Bill:
            used = [one for each in self.fetched.values() for one in each.used]
            digests = {path: shared.plain(entry).sha256.hexdigest() for path, entry in programs.items()}
            return bill.bill(self.plan, used, digests, licences=self.licences, epoch=self.epoch)

        return shared.once(("bill", tuple(programs.items())), make)

    def materials(self, node: NodePlan) -> Materials:
        """Return what a node is baked from besides the plan."""
        leaves = {want.name: self.secrets.leaves[want.holder, want.name] for want in _wanted(self.plan, node)}
        founding = self.secrets.founding
        return Materials(
            fetched=self.fetched,
            leaves=leaves,
            trust=self.secrets.trust,
            revocations=self.secrets.revocations,
            token=self.secrets.token,
            authorities=self.secrets.authorities,
            secret=self.secrets.secret,
            host_key=self.secrets.host_keys[node.name],
            founder=node.name not in founding.joining and bool(self.snapshot or not founding.snapshot),
            generation=founding.generation,
            snapshot=self.snapshot,
            epoch=self.epoch,
            plan_digest=self.digest,
        )


def user_overlays(plan: Plan) -> Tree:
    """Return the user's own files, which win over ours.

    Raises:
        UsageError: a directory or a file in it cannot be read, or a mode is given for no file.
    """
    trees = []
    for index, one in enumerate(plan.profile.overlays):
        with about(f"overlays[{index}]"):
            trees.append(user_overlay(plan.directory / one.path, one.modes))
    return merge(*trees)


def requests(plan: Plan) -> list[LeafRequest]:
    """Return every certificate the cluster needs: the components' for every node, and the operator's."""
    return [
        *(want for node in plan.nodes for want in _wanted(plan, node)),
        *(want for component in chosen(plan) for want in component.desk_leaves(plan)),
    ]


def _wanted(plan: Plan, node: NodePlan) -> Iterator[LeafRequest]:
    return (want for component in chosen(plan) for want in component.leaves(plan, node))
