"""Leaves: the same ones until something speaks against them, then issued, each for its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.pki import new_key
from nodebake.vault import ledger
from nodebake.vault.files import broken
from nodebake.vault.identity import check_clock, now

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Mapping

    from nodebake.pki import Authority, Leaf, LeafRequest, Terms
    from nodebake.vault.authorities import Authorities
    from nodebake.vault.further import Further
    from nodebake.vault.ledger import LedgerRow
    from nodebake.vault.store import Store


class Issuing:
    """What issues the leaves of one vault.

    Attributes:
        issued: the rows of the certificates issued since the vault was opened, each with its reason.
    """

    def __init__(self, store: Store, *, authorities: Authorities, further: Further, terms: Terms) -> None:
        self._store, self._authorities, self._further, self._terms = store, authorities, further, terms
        self.issued: tuple[LedgerRow, ...] = ()

    def leaves(
        self, requests: Iterable[LeafRequest], *, clock: int | None = None
    ) -> Mapping[tuple[str, str], Leaf]:
        """Return the leaves by holder and name; what is missing is issued in one batch.

        A certificate is used again while it says what is asked for, comes from the present authority and
        has neither expired nor been revoked. A key is used until its certificate is revoked. `issued`
        tells what was new, and why.

        Args:
            requests: what is wanted.
            clock: where the holders' clocks will start, seconds since 1970; None for `epoch`.

        Raises:
            UsageError: the authority may not certify a name, a certificate begins after `clock`, or the vault
                cannot be written to.
            BuildError: the disk is full or failed.
        """
        wanted = {(request.holder, request.name): request for request in requests}
        present = now()
        reasons = {key: self._reason(request, present) for key, request in wanted.items()}
        stale = [key for key, reason in reasons.items() if reason == "revoked"]
        due = {wanted[key]: reason for key, reason in reasons.items() if reason}
        self._check_clock(clock, wanted, present if due else None)
        self._issue(due, stale, present)
        current, keys = self._store.current, self._store.keys
        return {
            key: self._issuer(request).leaf(current[key].certificate.encode(), keys[key])
            for key, request in wanted.items()
        }

    def renew(
        self, requests: Iterable[LeafRequest], *, within: float, new_keys: bool, clock: int | None = None
    ) -> tuple[LedgerRow, ...]:
        """Issue leaves again that are fine still; return their rows.

        Args:
            requests: what may be renewed.
            within: only what expires in this many seconds.
            new_keys: make new keys, too.
            clock: see `leaves`.

        Raises:
            UsageError: see `leaves`.
            BuildError: the disk is full or failed.
        """
        requests, present = tuple(requests), now()
        self.leaves(requests, clock=clock)
        due = {request: "renewed" for request in requests if self._left(request, present) < within}
        self._check_clock(clock, (), present if due else None)
        stale = [(request.holder, request.name) for request in due] if new_keys else []
        return self._issue(due, stale, present)

    def _check_clock(
        self, clock: int | None, used: Iterable[tuple[str, str]], issuing: dt.datetime | None
    ) -> None:
        """Check it against the authority, certificates that are used again, and those that will be issued."""
        begins = [row.facts.not_before for key in used if (row := self._store.current.get(key))]
        begins += [self._terms.validity(issuing)[0]] if issuing else []
        check_clock(clock, max([self._authorities.issuing.not_before, *begins]))

    def _issue(
        self, due: Mapping[LeafRequest, str], stale: Collection[tuple[str, str]], present: dt.datetime
    ) -> tuple[LedgerRow, ...]:
        """Issue what is due, each for its reason: keys first, those that are stale made anew."""
        old = self._store.keys
        keys = {
            (request.holder, request.name): new_key(self._terms.algorithm)
            for request in due
            if (request.holder, request.name) not in old or (request.holder, request.name) in stale
        }
        self._store.save_keys(old | keys, self._store.hosts)
        rows = tuple(self._row(request, reason, present) for request, reason in due.items())
        self._store.save_rows((*self._store.rows, *rows))
        self.issued = (*self.issued, *rows)
        return rows

    def _row(self, request: LeafRequest, reason: str, present: dt.datetime) -> LedgerRow:
        key = self._store.keys[request.holder, request.name]
        return ledger.row(
            holder=request.holder,
            name=request.name,
            issued=int(present.timestamp()),
            reason=reason,
            certificate=self._issuer(request).issue(request, self._terms, now=present, key=key).certificate,
        )

    def _issuer(self, request: LeafRequest) -> Authority:
        return self._further.issuer(request.authority) if request.authority else self._authorities.issuing

    def _left(self, request: LeafRequest, present: dt.datetime) -> float:
        row = self._store.current[request.holder, request.name]
        return (row.facts.not_after - present).total_seconds()

    def _reason(self, request: LeafRequest, present: dt.datetime) -> str:
        """Say why a leaf must be issued, or nothing if what there is will do."""
        current = self._store.current.get((request.holder, request.name))
        if current is None:
            return "new"
        if current.revoked:
            return "revoked"
        key, certificate = self._store.keys[current.key], current.certificate.encode()
        try:
            issuer = self._issuer(request)
            return issuer.objection(certificate, request, self._terms, key=key, now=present)
        except ValueError as error:
            what = f"key or certificate of {request.holder}'s {request.name}: {error}"
            raise broken(self._store.files.directory, what) from error
