"""The same build twice, under conditions that should not matter, and every byte compared."""

from nodebake.reproducing.comparing import Difference, compare
from nodebake.reproducing.conditions import Condition
from nodebake.reproducing.running import Reproduced, reproduce

__all__ = ["Condition", "Difference", "Reproduced", "compare", "reproduce"]
