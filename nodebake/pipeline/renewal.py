"""Only what changed of the nodes' files: found by baking a node with and without it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nodebake.formats import renewal
from nodebake.pki import Leaf
from nodebake.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.components.contract import Materials
    from nodebake.manifest import Artifact
    from nodebake.pipeline.bakery import Bakery
    from nodebake.plan import NodePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What of a node's secrets is new.

    Attributes:
        certificates: names of leaves.
        keys: names of leaves whose keys are new as well.
        trust: the authorities that the node trusts.
        revocations: the list of revoked certificates.
        restart: services that read any of it only when they start.
    """

    certificates: frozenset[str] = frozenset()
    keys: frozenset[str] = field(default_factory=frozenset)
    trust: bool = False
    revocations: bool = False
    restart: tuple[str, ...] = ()

    def __or__(self, other: Pieces) -> Pieces:
        """Return what is new in either."""
        return Pieces(
            certificates=self.certificates | other.certificates,
            keys=self.keys | other.keys,
            trust=self.trust or other.trust,
            revocations=self.revocations or other.revocations,
            restart=tuple(dict.fromkeys((*self.restart, *other.restart))),
        )


def write(oven: Bakery, nodes: Mapping[str, Pieces]) -> dict[str, Artifact]:
    """Write the renewal of every node that has something new; return them by node.

    Raises:
        BuildError: a node could not be baked or written.
    """
    written = {}
    for node in oven.plan.nodes:
        pieces = nodes.get(node.name, Pieces())
        if pieces != Pieces():
            written[node.name] = renewal.write(
                oven.plan,
                node,
                _changed(oven, node, pieces),
                restart=pieces.restart,
                out=oven.out,
                epoch=oven.epoch,
            )
    return written


def _changed(oven: Bakery, node: NodePlan, pieces: Pieces) -> Tree:
    """Return the files that come out different without the pieces, whichever components wrote them."""
    materials = oven.materials(node)
    before, after = (oven.baked(node, each).root for each in (_without(materials, pieces), materials))
    return Tree({path: entry for path, entry in after.items() if path not in before or entry != before[path]})


def _without(materials: Materials, pieces: Pieces) -> Materials:
    leaves = {
        name: Leaf(
            certificate=b"" if name in pieces.certificates else leaf.certificate,
            key=b"" if name in pieces.keys else leaf.key,
        )
        for name, leaf in materials.leaves.items()
    }
    return replace(
        materials,
        leaves=leaves,
        trust=b"" if pieces.trust else materials.trust,
        revocations=b"" if pieces.revocations else materials.revocations,
    )
