"""What running nodes were last given besides their cards, and when.

A node whose root is in memory keeps what it was given with its data, and lays it over what is baked at each
start, unless that is newer. So from then on a changed profile makes artefacts of a later time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nodebake.vault.identity import now

if TYPE_CHECKING:
    from nodebake.vault.files import Files

GIVEN = "given.json"
_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The settings that nodes have.

    Attributes:
        digest: of the settings; empty while running nodes were given none.
        moment: when they came to be these, seconds since 1970.
    """

    digest: str = ""
    moment: int = 0


def read_given(files: Files) -> Given:
    """Return what the vault remembers.

    Raises:
        UsageError: the file is damaged.
    """
    return files.parsed(GIVEN, _SCHEMA, _from_json, missing=Given())


def _from_json(document: Any) -> Given:  # noqa: ANN401 - whatever the file holds
    return Given(digest=str(document["digest"]), moment=int(document["moment"]))


def write_given(files: Files, digest: str) -> Given:
    """Remember settings that come to be the nodes' now, on the disk when this returns; return them."""
    given = Given(digest=digest, moment=int(now().timestamp()))
    files.write_json(GIVEN, {"schema": _SCHEMA} | asdict(given))
    return given
