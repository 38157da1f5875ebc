"""Which cluster the nodes belong to, and who may found it: the first one, or one from a snapshot.

A cluster that is founded from a snapshot is another one, with another token: no member of the old one may
meet it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nodebake.vault.identity import now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.vault.files import Files

FOUNDING = "founding.json"
_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """How the cluster began, and who came later.

    Attributes:
        generation: 0 for the first cluster, one more for each that was founded from a snapshot.
        snapshot: SHA-256 of that snapshot's file, hexadecimal; empty for the first cluster.
        joining: the nodes that were replaced or added later, which may not found it, and since when each,
            seconds since 1970.
        leaving: the id in the cluster, hexadecimal, of the member that each of them takes the place of; empty
            where it is not known.
        changed: when anything of this last changed, seconds since 1970; 0 for never.
    """

    generation: int = 0
    snapshot: str = ""
    joining: Mapping[str, int] = field(default_factory=dict)
    leaving: Mapping[str, str] = field(default_factory=dict)
    changed: int = 0

    def with_joining(self, node: str, leaving: str) -> Founding:
        """Return the same, with a node that joins from now on, in the place of `leaving`."""
        moment = int(now().timestamp())
        return replace(
            self,
            joining={**self.joining, node: moment},
            leaving={**self.leaving, node: leaving},
            changed=moment,
        )

    def again(self, snapshot: str) -> Founding:
        """Return the founding of another cluster, by all nodes, from the snapshot with this SHA-256.

        Also from one that was taken before: members of what came of it then may have written since.
        """
        return Founding(generation=self.generation + 1, snapshot=snapshot, changed=int(now().timestamp()))


def read_founding(files: Files) -> Founding:
    """Return what the vault remembers.

    Raises:
        UsageError: the file is damaged.
    """
    return files.parsed(FOUNDING, _SCHEMA, _from_json, missing=Founding())


def _from_json(document: Any) -> Founding:  # noqa: ANN401 - whatever the file holds
    return Founding(
        generation=int(document["generation"]),
        snapshot=str(document["snapshot"]),
        joining={str(name): int(moment) for name, moment in document["joining"].items()},
        leaving={str(name): str(member) for name, member in document["leaving"].items()},
        changed=int(document["changed"]),
    )


def write_founding(files: Files, founding: Founding) -> Founding:
    """Remember it, on the disk when this returns, and return it."""
    files.write_json(FOUNDING, {"schema": _SCHEMA} | asdict(founding))
    return founding
