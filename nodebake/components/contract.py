"""What a component is, and what it is given: all that the rest of the house knows about one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from nodebake.sources.model import Fetched, Want
from nodebake.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nodebake.errors import Problem
    from nodebake.pki import AuthorityRequest, HostKey, Leaf, LeafRequest
    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.load import Loaded

__all__ = ["DESK", "Baked", "Component", "Desk", "Fetched", "Materials", "Want"]

T = TypeVar("T")

DESK = "operator"
"""Directory of the operator's files in a build, and who holds the operator's certificates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Materials:
    """What one node is baked from besides the plan: the secrets and the programs.

    Attributes:
        fetched: programs by the name they were wanted by.
        leaves: this node's certificates and keys by name (`server`, `peer`, `client`).
        trust: the certificates of the authorities that nodes trust, PEM.
        revocations: the list of revoked certificates, DER.
        token: the cluster's token.
        authorities: certificates and keys of further authorities by name.
        secret: returns a secret of the cluster for one purpose, 64 hexadecimal digits.
        host_key: the node's SSH host key.
        generation: how often the cluster was founded anew from a snapshot.
        snapshot: what members without data found it from; empty for nothing.
        founder: whether the node may found the cluster; one that was replaced or added later may not.
        epoch: seconds since 1970 of everything in the artefact; the node's clock starts no earlier.
        plan_digest: of all that was decided, see `Plan.digest`.
    """

    fetched: Mapping[str, Fetched]
    leaves: Mapping[str, Leaf] = field(repr=False)
    trust: bytes
    revocations: bytes
    token: str = field(repr=False)
    authorities: Mapping[str, Leaf] = field(repr=False)
    secret: Callable[[str], str] = field(repr=False)
    host_key: HostKey = field(repr=False)
    founder: bool = True
    generation: int = 0
    snapshot: bytes = field(default=b"", repr=False)
    epoch: int
    plan_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the operator's files are made from besides the plan.

    Attributes:
        leaves: the operator's certificates and keys by name.
        trust: the authority's certificate, PEM.
        authorities: certificates of further authorities by name, PEM.
        host_keys: SSH host keys by node.
    """

    leaves: Mapping[str, Leaf] = field(repr=False)
    trust: bytes
    authorities: Mapping[str, bytes]
    host_keys: Mapping[str, HostKey] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baked:
    """One node's files: on its root, and on its boot partition."""

    root: Tree = field(default_factory=lambda: Tree({}))
    boot: Tree = field(default_factory=lambda: Tree({}))


def _nothing(*_: object) -> tuple[T, ...]:
    return ()


def _no_files(*_: object) -> Mapping[str, bytes]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One thing that is baked in.

    Attributes:
        part: the class of what it decides; a plan without one goes without this component.
        decide: returns the plan with its part and settings, and everything wrong with the profile.
        bake: returns the files it puts on a node.
        wants: returns the programs it needs.
        authorities: returns the authorities it needs besides etcd's.
        leaves: returns the certificates it needs on a node.
        trusting: returns its services on a node that read the trusted authorities only when they start.
        services: returns its services on a node, which read its files when they start: these can be laid
            over a node that runs. Without any they come with an artefact only.
        company: returns those of its files on a node that name the other nodes.
        desk_leaves: returns the operator's certificates it needs.
        desk: returns the operator's files by name; its certificates are noted as being in the first.
    """

    part: type
    decide: Callable[[Loaded, Plan], tuple[Plan, list[Problem]]]
    bake: Callable[[Plan, NodePlan, Materials], Baked]
    wants: Callable[[Plan], tuple[Want, ...]] = _nothing
    authorities: Callable[[Plan], tuple[AuthorityRequest, ...]] = _nothing
    leaves: Callable[[Plan, NodePlan], tuple[LeafRequest, ...]] = _nothing
    trusting: Callable[[Plan, NodePlan], tuple[str, ...]] = _nothing
    services: Callable[[Plan, NodePlan], tuple[str, ...]] = _nothing
    company: Callable[[Plan, NodePlan], tuple[str, ...]] = _nothing
    desk_leaves: Callable[[Plan], tuple[LeafRequest, ...]] = _nothing
    desk: Callable[[Plan, Desk], Mapping[str, bytes]] = _no_files
