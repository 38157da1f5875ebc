"""What can be baked in; one module each, and nothing else in the house knows their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.components import base, board, etcd, firewall, flannel, k3s

if TYPE_CHECKING:
    from nodebake.components.contract import Component
    from nodebake.plan import Plan

COMPONENTS: tuple[Component, ...] = (
    etcd.COMPONENT,
    flannel.COMPONENT,
    k3s.COMPONENT,
    firewall.COMPONENT,
    base.COMPONENT,
    board.COMPONENT,
)
"""In the order they decide: what a component needs of the system is known before the system is decided."""


def chosen(plan: Plan) -> tuple[Component, ...]:
    """Return the components that are baked into the nodes of `plan`."""
    return tuple(component for component in COMPONENTS if plan.has(component.part))
