"""What can be baked in; one module each, and nothing else in the house knows their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.components import base, board, etcd

if TYPE_CHECKING:
    from nodebake.components.contract import Component

COMPONENTS: tuple[Component, ...] = (base, board, etcd)
