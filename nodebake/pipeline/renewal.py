"""Only what changed of the nodes' files: secrets are found by baking a node with and without them."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nodebake.components import chosen
from nodebake.formats import renewal
from nodebake.pki import Leaf
from nodebake.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.components.contract import Materials
    from nodebake.manifest import Artifact
    from nodebake.pipeline.bakery import Bakery
    from nodebake.plan import NodePlan
    from nodebake.tree import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What of a node's files is new.

    Attributes:
        certificates: names of leaves.
        keys: names of leaves whose keys are new as well.
        trust: the authorities that the node trusts.
        revocations: the list of revoked certificates.
        company: what names the other nodes.
        settings: all that the plan decides about services that can be given it while the node runs.
        programs: their programs, too.
        restart: services that read any of it only when they start.
    """

    certificates: frozenset[str] = frozenset()
    keys: frozenset[str] = field(default_factory=frozenset)
    trust: bool = False
    revocations: bool = False
    company: bool = False
    settings: bool = False
    programs: bool = False
    restart: tuple[str, ...] = ()

    def __or__(self, other: Pieces) -> Pieces:
        """Return what is new in either."""
        return Pieces(
            certificates=self.certificates | other.certificates,
            keys=self.keys | other.keys,
            trust=self.trust or other.trust,
            revocations=self.revocations or other.revocations,
            company=self.company or other.company,
            settings=self.settings or other.settings,
            programs=self.programs or other.programs,
            restart=tuple(dict.fromkeys((*self.restart, *other.restart))),
        )


def write(oven: Bakery, nodes: Mapping[str, Pieces]) -> dict[str, Artifact]:
    """Write the renewal of every node that has something new; return them by node, in the same order.

    Raises:
        BuildError: a node could not be baked or written.
    """
    written = {}
    for name, pieces in nodes.items():
        if pieces != Pieces():
            node = oven.plan.node(name)
            written[name] = renewal.write(
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
    new = {path: entry for path, entry in after.items() if path not in before or entry != before[path]}
    return Tree(_laid_over(oven, node, pieces, after) | new)


def _laid_over(oven: Bakery, node: NodePlan, pieces: Pieces, whole: Tree) -> dict[str, Entry]:
    """Return what is laid over besides secrets; the user's files win here, too."""
    plan, found = oven.plan, set[str]()
    materials = oven.materials(node)
    names = frozenset(materials.leaves)
    bare = _without(materials, Pieces(certificates=names, keys=names, trust=True, revocations=True))
    for component in chosen(plan):
        found |= set(component.company(plan, node)) if pieces.company else set()
        if pieces.settings and component.services(plan, node):
            with_them, without = (component.bake(plan, node, each).root for each in (materials, bare))
            found |= {path for path, entry in without.items() if entry == with_them[path]}
    return {
        path: whole[path]
        for path in found
        if stat.S_ISREG(whole[path].mode) and (pieces.programs or not whole[path].shared)
    }


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
