"""The ledger: one row per certificate ever issued, with the certificate itself."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from nodebake.pki import Facts, describe

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

SCHEMA = 2  # 1 had neither `card` nor `revoked`
_KEPT = ("holder", "name", "issued", "reason", "artifact", "card", "revoked", "certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One certificate that was issued.

    Attributes:
        holder: the node's name, or `operator`.
        name: what the holder calls it: `server`, `peer`, `client`...
        issued: when, seconds since 1970.
        reason: why: `new`, `changed`, `expired`, `renewed`, `revoked` (the one before) or `other authority`.
        artifact: path of the artefact it went into last, relative to the build; empty if none is known.
        card: where it is known to be: a card or disk it was written to, or `pushed`, `confirmed`, `live`;
            empty while nobody knows.
        revoked: when it was revoked, seconds since 1970; 0 while it counts.
        certificate: PEM, without the chain.
        facts: what the certificate says.
    """

    holder: str
    name: str
    issued: int
    reason: str
    artifact: str = ""
    card: str = ""
    revoked: int = 0
    certificate: str
    facts: Facts

    @property
    def key(self) -> tuple[str, str]:
        """Holder and name."""
        return self.holder, self.name


def row(*, holder: str, name: str, issued: int, reason: str, certificate: bytes) -> LedgerRow:
    """Return the row of a certificate just issued."""
    return LedgerRow(
        holder=holder,
        name=name,
        issued=issued,
        reason=reason,
        certificate=certificate.decode(),
        facts=describe(certificate),
    )


def recorded(rows: Iterable[LedgerRow], artifacts: Mapping[tuple[str, str], str]) -> tuple[LedgerRow, ...]:
    """Return the rows, the last of each holder and name with the artefact that it went into."""
    rows = tuple(rows)
    last = {each.key: index for index, each in enumerate(rows)}
    return tuple(
        replace(each, artifact=artifacts[each.key])
        if last[each.key] == index and each.key in artifacts
        else each
        for index, each in enumerate(rows)
    )


def placed(rows: Iterable[LedgerRow], holders: Collection[str], card: str) -> tuple[LedgerRow, ...]:
    """Return the rows, the last of each name of these holders with where it is known to be."""
    rows = tuple(rows)
    last = {each.key: index for index, each in enumerate(rows)}
    return tuple(
        replace(each, card=card) if last[each.key] == index and each.holder in holders else each
        for index, each in enumerate(rows)
    )


def revoked(rows: Iterable[LedgerRow], which: Collection[LedgerRow], moment: int) -> tuple[LedgerRow, ...]:
    """Return the rows, some of them revoked at `moment`, seconds since 1970."""
    serials = {each.facts.serial for each in which}
    return tuple(replace(each, revoked=moment) if each.facts.serial in serials else each for each in rows)


def to_json(rows: Iterable[LedgerRow]) -> dict[str, object]:
    """Return what `ledger.json` holds; the facts stand there for people, the certificate is what counts."""
    return {"schema": SCHEMA, "certificates": [_row_to_json(each) for each in rows]}


def from_json(document: Any) -> tuple[LedgerRow, ...]:  # noqa: ANN401 - whatever the file holds
    """Return the rows of `ledger.json`.

    Raises:
        ValueError, KeyError, TypeError: it is not a ledger.
    """
    return tuple(
        LedgerRow(
            **{name: each[name] for name in _KEPT if name in each},
            facts=_facts_from_json(each),
        )
        for each in document["certificates"]
    )


def _row_to_json(each: LedgerRow) -> dict[str, object]:
    facts = asdict(each.facts)
    facts["not_before"] = each.facts.not_before.isoformat()
    facts["not_after"] = each.facts.not_after.isoformat()
    return {name: getattr(each, name) for name in _KEPT} | facts


def _facts_from_json(each: dict[str, Any]) -> Facts:
    return Facts(
        serial=each["serial"],
        subject=each["subject"],
        dns=tuple(each["dns"]),
        ips=tuple(each["ips"]),
        usages=tuple(each["usages"]),
        algorithm=each["algorithm"],
        not_before=dt.datetime.fromisoformat(each["not_before"]),
        not_after=dt.datetime.fromisoformat(each["not_after"]),
    )
