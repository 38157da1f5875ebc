"""How far the change from one authority to the next has come, so that it can go on after anything.

trust   every node trusts the present authority and the coming one
issue   every certificate comes from the new one; the former is still trusted
drop    the former is trusted no more
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nodebake.vault.files import Files

Step = Literal["trust", "issue", "drop"]
STEPS: tuple[Step, ...] = get_args(Step)
ROTATION = "rotation.json"
_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Which authorities there are, and which step of a change is under way.

    Attributes:
        issuing: number of the authority that issues; the first one is 1.
        other: number of the one that is coming (`trust`) or going (`issue`, `drop`); 0 for none.
        step: the step under way; empty between changes.
        have: the nodes known to have the step.
        changed: when anything of this last changed, seconds since 1970; 0 for never.
    """

    issuing: int = 1
    other: int = 0
    step: Step | Literal[""] = ""
    have: tuple[str, ...] = ()
    changed: int = 0

    @property
    def trusted(self) -> tuple[int, ...]:
        """The numbers of the authorities that nodes are to trust, the issuing one first."""
        return (self.issuing, self.other) if self.step in {"trust", "issue"} else (self.issuing,)

    def missing(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """Return those of `nodes` that are not known to have the step."""
        return tuple(node for node in nodes if node not in self.have)

    def with_nodes(self, nodes: Iterable[str]) -> Rotation:
        """Return the same, with `nodes` known to have the step."""
        return replace(self, have=tuple(dict.fromkeys((*self.have, *nodes))))

    def next(self, *, now: int) -> Rotation:
        """Return the next step; after the last, no change is under way."""
        match self.step:
            case "":
                return Rotation(issuing=self.issuing, other=self.issuing + 1, step="trust", changed=now)
            case "trust":
                return Rotation(issuing=self.other, other=self.issuing, step="issue", changed=now)
            case "issue":
                return replace(self, step="drop", have=(), changed=now)
            case "drop":
                return Rotation(issuing=self.issuing, changed=now)


def read_rotation(files: Files) -> Rotation:
    """Return what the vault remembers; a vault that has never changed its authority remembers nothing.

    Raises:
        UsageError: the file is damaged.
    """
    return files.parsed(ROTATION, _SCHEMA, _from_json, missing=Rotation())


def _from_json(document: Any) -> Rotation:  # noqa: ANN401 - whatever the file holds
    values = {key: value for key, value in document.items() if key != "schema"}
    rotation = Rotation(**{**values, "have": tuple(values["have"])})
    if rotation.step not in {"", *STEPS} or not all(isinstance(one, int) for one in rotation.trusted):
        raise ValueError(f"step {rotation.step}")
    return rotation


def write_rotation(files: Files, rotation: Rotation) -> None:
    """Remember it; on the disk when this returns."""
    files.write_json(ROTATION, {"schema": _SCHEMA} | asdict(rotation))
