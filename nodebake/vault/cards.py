"""The cards that were written, in the vault's own file: which went to which node, and which failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nodebake.vault.files import locked
from nodebake.vault.identity import IDENTITY, now

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.vault.files import Files

CARDS = "cards.json"
_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One writing of a card.

    Attributes:
        serial: of the card, or of the reader where `own` is false: behind USB cards have none.
        own: whether the serial number is the card's.
        model: as the device calls itself.
        size: bytes of the card.
        node: whose image it got.
        image: SHA-256 of the image, hexadecimal.
        failed: why it cannot be trusted; empty for a good one.
        written: when, seconds since 1970.
    """

    serial: str
    own: bool
    model: str
    size: int
    node: str
    image: str
    failed: str = ""
    written: int = 0


def cards(directory: Path) -> tuple[Card, ...]:
    """Return every card written for the cluster of the vault `directory`, oldest first.

    Raises:
        UsageError: the vault cannot be read.
    """
    if not (directory / IDENTITY).exists():
        return ()
    with locked(directory) as files:
        return read_cards(files)


def record(directory: Path, card: Card) -> bool:
    """Note a card as written now, in the vault `directory`; return whether there is a vault.

    Raises:
        UsageError: the vault cannot be written to.
        BuildError: the disk is full or failed.
    """
    if not (directory / IDENTITY).exists():
        return False
    with locked(directory) as files:
        rows = [asdict(row) for row in read_cards(files)]
        rows.append(asdict(card) | {"written": int(now().timestamp())})
        files.write_json(CARDS, {"schema": _SCHEMA, "cards": rows})
    return True


def read_cards(files: Files) -> tuple[Card, ...]:
    """Return every card noted in a locked vault, oldest first.

    Raises:
        UsageError: the file is damaged.
    """
    return files.parsed(CARDS, _SCHEMA, _from_json, missing=())


def _from_json(document: Any) -> tuple[Card, ...]:  # noqa: ANN401 - whatever the file holds
    return tuple(Card(**row) for row in document["cards"])
