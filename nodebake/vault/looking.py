"""A look into a vault: nothing is made or changed, and no pass phrase is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.errors import UsageError
from nodebake.pki import describe
from nodebake.vault.authorities import Names, certificates, stored_key
from nodebake.vault.cards import read_cards
from nodebake.vault.files import locked
from nodebake.vault.identity import IDENTITY, identify, now
from nodebake.vault.rotation import Rotation, read_rotation
from nodebake.vault.store import Store

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from nodebake.pki import Facts
    from nodebake.vault.cards import Card
    from nodebake.vault.files import Files
    from nodebake.vault.ledger import LedgerRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a vault says about its certificates.

    Attributes:
        now: the present, or what stands for it.
        rows: every certificate ever issued, oldest first.
        authorities: the certificates of all authorities, by file name; the issuing one first.
        rotation: how far a change of the authority has come.
        cards: every card written for the cluster, oldest first.
    """

    now: dt.datetime
    rows: tuple[LedgerRow, ...]
    authorities: dict[str, Facts]
    rotation: Rotation
    cards: tuple[Card, ...] = ()

    def card(self, row: LedgerRow) -> str:
        """Return where a certificate is known to be: as noted with it, or the last card of its node since."""
        good = [one for one in self.cards if one.node == row.holder and not one.failed]
        if row.card or not good or good[-1].written < row.issued:
            return row.card
        return f"{good[-1].model} {good[-1].serial}"

    def days(self, end: dt.datetime) -> int:
        """Return the whole days from now to `end`; less than 0 when it is over."""
        return (end - self.now).days


def look(directory: Path, *, cluster: str, epoch: int | None) -> Look:
    """Return what the vault of a cluster says.

    Args:
        directory: the vault itself.
        cluster: the name in the profile.
        epoch: SOURCE_DATE_EPOCH, or None for the present.

    Raises:
        UsageError: there is no vault, it is damaged or another cluster's, or a build holds it.
    """
    if not (directory / IDENTITY).exists():
        raise UsageError(
            f"there is no vault in {directory}",
            hint="the first ./invoke build makes it; if it lies elsewhere, name it with --vault",
        )
    with locked(directory) as files:
        identify(files, cluster)
        return seen_in(files, epoch=epoch)


def seen_in(files: Files, *, epoch: int | None) -> Look:
    """Return what the files of a locked vault say.

    Raises:
        UsageError: one of them is damaged or missing.
    """
    rotation = read_rotation(files)
    numbers = [number for number in (rotation.issuing, rotation.other) if number]
    for number in numbers:
        stored_key(files, number)
    return Look(
        now=now(epoch),
        rows=Store(files).rows,
        authorities={
            Names.of(number).certificate: describe(certificates(files, number)) for number in numbers
        },
        rotation=rotation,
        cards=read_cards(files),
    )
