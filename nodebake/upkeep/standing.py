"""How every certificate of a cluster stands: the ledger, beside what was built and what is presented."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from nodebake.errors import BuildError
from nodebake.upkeep.artefacts import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nodebake.pki import Facts
    from nodebake.plan import Plan
    from nodebake.upkeep.presented import Presented
    from nodebake.vault import LedgerRow, Look

AUTHORITY = "authority"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One certificate.

    Attributes:
        holder: the node's name, `operator` or `authority`.
        name: what it is for: `server`, `peer`, `client`...; the file of an authority.
        serial: hexadecimal.
        subject: RFC 4514.
        not_after: its last second, ISO 8601.
        days: whole days left.
        state: `current`, `revoked`, or `unused` if the profile has no such node any more.
        artifact: the artefact it went into last.
        card: where it is known to be.
        complaints: what is wrong with it besides its age.
    """

    holder: str
    name: str
    serial: str
    subject: str
    not_after: str
    days: int
    state: Literal["current", "revoked", "unused"]
    artifact: str = ""
    card: str = ""
    complaints: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold of it."""
        return asdict(self)


def standings(
    plan: Plan, look: Look, *, built: Mapping[str, frozenset[str]], seen: Sequence[Presented]
) -> tuple[Standing, ...]:
    """Return every certificate that matters, the worst first: those in use, and the revoked until they end.

    Args:
        plan: the cluster.
        look: what its vault says.
        built: serials by holder, as the artefacts have them.
        seen: what the members present, if they were asked.
    """
    current = {row.key: row for row in look.rows}
    holders = {OPERATOR, *(node.name for node in plan.nodes)}
    rows = [_authority(look, name, facts) for name, facts in look.authorities.items()]
    for row in current.values():
        if not row.revoked:
            complaints = (*_in_artefact(row, built), *_on_the_wire(row, seen))
            rows.append(_standing(look, row, "current" if row.holder in holders else "unused", complaints))
    alive = (row for row in look.rows if row.revoked and look.days(row.facts.not_after) >= 0)
    rows += [_standing(look, row, "revoked", ()) for row in alive]
    return tuple(sorted(rows, key=lambda one: (one.state != "current", one.days, one.holder, one.name)))


def strangers(look: Look, seen: Iterable[Presented]) -> Iterator[str]:
    """Yield a line for every member that does not answer, or presents what the ledger does not know."""
    known = {row.facts.serial for row in look.rows}
    for one in seen:
        where = f"{one.node} port {one.port}"
        if one.error:
            yield f"{where} does not answer: {one.error}"
        elif one.serial not in known:
            yield f"{where} presents {one.serial}, which is not in this vault's ledger"


def check(rows: Iterable[Standing], complaints: Iterable[str], *, under: float) -> None:
    """Fail if a certificate in use ends too soon, or is not where it should be.

    Args:
        rows: every certificate.
        complaints: what else is wrong.
        under: seconds that each must have left.

    Raises:
        BuildError: with every certificate that fails.
    """
    days = under / 86400
    wrong = [
        f"{row.holder}'s {row.name}: {row.days} days left"
        for row in rows
        if row.state == "current" and row.days < days
    ]
    wrong += [f"{row.holder}'s {row.name}: {what}" for row in rows for what in row.complaints]
    if wrong := [*wrong, *complaints]:
        raise BuildError("\n".join(wrong), hint="docs/certificates-expire.md says what to do")


def _authority(look: Look, name: str, facts: Facts) -> Standing:
    return Standing(
        holder=AUTHORITY,
        name=name,
        serial=facts.serial,
        subject=facts.subject,
        not_after=facts.not_after.isoformat(),
        days=look.days(facts.not_after),
        state="current",
    )


def _standing(
    look: Look, row: LedgerRow, state: Literal["current", "revoked", "unused"], complaints: tuple[str, ...]
) -> Standing:
    return Standing(
        holder=row.holder,
        name=row.name,
        serial=row.facts.serial,
        subject=row.facts.subject,
        not_after=row.facts.not_after.isoformat(),
        days=look.days(row.facts.not_after),
        state=state,
        artifact=row.artifact,
        card=look.card(row),
        complaints=complaints,
    )


def _in_artefact(row: LedgerRow, built: Mapping[str, frozenset[str]]) -> Iterator[str]:
    if row.holder in built and row.facts.serial not in built[row.holder]:
        yield "the artefact has an older one"


def _on_the_wire(row: LedgerRow, seen: Iterable[Presented]) -> Iterator[str]:
    for one in seen:
        if (one.node, one.name) == row.key and one.serial and one.serial != row.facts.serial:
            yield f"port {one.port} presents another one, {one.serial}"
