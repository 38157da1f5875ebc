"""Profile -> `Plan`: every value decided, with where it came from; pure, without secrets."""

from nodebake.plan.boards import BOARDS, Board
from nodebake.plan.identity import Identity, identity
from nodebake.plan.model import Mount, Needs, NodePlan, Opening, Plan, Setting, with_part
from nodebake.plan.resolving import resolve

__all__ = [
    "BOARDS",
    "Board",
    "Identity",
    "Mount",
    "Needs",
    "NodePlan",
    "Opening",
    "Plan",
    "Setting",
    "identity",
    "resolve",
    "with_part",
]
