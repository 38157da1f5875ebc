"""What a component is, and what it is given: all that the rest of the house knows about one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from nodebake.sources.model import Fetched, Want
from nodebake.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.errors import Problem
    from nodebake.pki import HostKey, Leaf, LeafRequest
    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.load import Loaded

__all__ = ["Baked", "Component", "Fetched", "Materials", "Want"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Materials:
    """What one node is baked from besides the plan: the secrets and the programs.

    Attributes:
        fetched: programs by the name they were wanted by.
        leaves: this node's certificates and keys by name (`server`, `peer`, `client`).
        trust: the authority's certificate, PEM.
        token: the cluster's token.
        host_key: the node's SSH host key.
        epoch: seconds since 1970 of everything in the artefact; the node's clock starts no earlier.
    """

    fetched: Mapping[str, Fetched]
    leaves: Mapping[str, Leaf] = field(repr=False)
    trust: bytes
    token: str = field(repr=False)
    host_key: HostKey = field(repr=False)
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Baked:
    """One node's files: on its root, and on its boot partition."""

    root: Tree = field(default_factory=lambda: Tree({}))
    boot: Tree = field(default_factory=lambda: Tree({}))


class Component(Protocol):
    """One thing that is baked in. A module with these four functions is one."""

    def decide(self, loaded: Loaded, plan: Plan) -> tuple[Plan, list[Problem]]:
        """Return `plan` with this component's part and settings, and everything wrong with the profile."""

    def wants(self, plan: Plan) -> tuple[Want, ...]:
        """Return the programs it needs."""

    def leaves(self, plan: Plan, node: NodePlan) -> tuple[LeafRequest, ...]:
        """Return the certificates it needs on `node`."""

    def bake(self, plan: Plan, node: NodePlan, materials: Materials) -> Baked:
        """Return the files it puts on `node`."""
