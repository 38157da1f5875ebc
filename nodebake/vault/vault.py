"""An open vault: hands out leaves and host keys, the same ones until it is told otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nodebake.errors import UsageError
from nodebake.pki import USER, HostKey, Leaf, LeafRequest, new_host_key, new_key, user
from nodebake.vault import ledger
from nodebake.vault.files import broken
from nodebake.vault.founding import read_founding, write_founding
from nodebake.vault.given import read_given, write_given
from nodebake.vault.identity import Identity, check_clock, now

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Mapping

    from nodebake.pki import Authority, AuthorityRequest, Terms
    from nodebake.vault.authorities import Authorities
    from nodebake.vault.further import Further
    from nodebake.vault.ledger import LedgerRow
    from nodebake.vault.store import Store

REVOCATIONS = "crl.der"


class Vault:
    """The secrets of one cluster, on disk before anybody gets them.

    Attributes:
        authorities: the one that issues, and how far a change to another has come.
        minted: whether this opening made the authority; the user must be told where it is.
        founding: how the cluster began, and who came later.
        issued: the rows of the certificates issued since the vault was opened, each with its reason.
    """

    def __init__(
        self,
        store: Store,
        *,
        identity: Identity,
        authorities: Authorities,
        further: Further,
        minted: bool,
        terms: Terms,
    ) -> None:
        self._store, self._identity, self._terms = store, identity, terms
        self._further = further
        self.authorities, self.minted = authorities, minted
        self.issued: tuple[LedgerRow, ...] = ()
        self.founding = read_founding(store.files)
        self._given = read_given(store.files)

    @property
    def authority(self) -> Authority:
        """The cluster's certificate authority: the one that issues."""
        return self.authorities.issuing

    @property
    def trust(self) -> bytes:
        """What the nodes are to trust, PEM."""
        return self.authorities.trust

    @property
    def id(self) -> str:
        """The cluster's UUID."""
        return self._identity.id

    @property
    def token(self) -> str:
        """The etcd cluster token."""
        return self._identity.token(self.founding.generation)

    def secret(self, purpose: str) -> str:
        """Return a secret of the cluster for one purpose, 64 hexadecimal digits; always the same."""
        return self._identity.secret(purpose)

    def further(self, requests: Iterable[AuthorityRequest]) -> Mapping[str, Leaf]:
        """Return certificate and key of further authorities by name; what is missing is minted.

        Raises:
            UsageError: the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        return self._further.get(requests)

    @property
    def epoch(self) -> int:
        """When anything in the vault was last issued, seconds since 1970."""
        known = (self.authorities.rotation.changed, self.founding.changed, self._given.moment)
        rows = (max(row.issued, row.revoked) for row in self._store.rows)
        return max([self._identity.created, *known, *rows])

    def ledger(self) -> tuple[LedgerRow, ...]:
        """Return a row for every certificate ever issued, oldest first."""
        return self._store.rows

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

    def revoke(self, holder: str, name: str = "") -> tuple[LedgerRow, ...]:
        """Revoke a holder's certificates, of one name or all; the next that are issued have new keys.

        Raises:
            UsageError: there is none to revoke, or the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        present = now()
        chosen = [row for row in self._store.rows if row.holder == holder and name in {"", row.name}]
        due = [row for row in chosen if not row.revoked and row.facts.not_after > present]
        if not chosen:
            raise UsageError(
                f"nothing was ever issued to {holder} {name}", hint="./invoke certs shows to whom"
            )
        self._store.save_rows(ledger.revoked(self._store.rows, due, int(present.timestamp())))
        return tuple(due)

    def join(self, node: str, leaving: str = "") -> None:
        """Remember that a node joins a cluster that is there, from now on, in the place of member `leaving`.

        Raises:
            UsageError: the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        self.founding = write_founding(self._store.files, self.founding.with_joining(node, leaving))

    def found_again(self, snapshot: str) -> None:
        """Remember that all nodes found another cluster, from a snapshot; see `Founding.again` and `join`."""
        self.founding = write_founding(self._store.files, self.founding.again(snapshot))

    def give(self, digest: str, *, running: bool = False) -> None:
        """Remember the digest of the nodes' settings, from when `running` ones first get them; see `given`.

        Raises:
            UsageError: the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        if digest != self._given.digest and (running or self._given.digest):
            self._given = write_given(self._store.files, digest)

    def revocations(self) -> bytes:
        """Return the list of revoked certificates, DER; the same one until a further one is revoked.

        Raises:
            UsageError: what is stored is damaged, or the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        files = self._store.files
        revoked = {row.facts.serial: row.revoked for row in self._store.rows if row.revoked}
        if files.has(REVOCATIONS):
            stored = files.read(REVOCATIONS)
            try:
                if self.authority.lists(stored, revoked):
                    return stored
            except ValueError as error:
                raise broken(files.directory / REVOCATIONS, str(error)) from error
        made = self.authority.revocations(revoked, now=now())
        files.write(REVOCATIONS, made)
        return made

    def operators(self) -> tuple[LeafRequest, ...]:
        """Return what was issued to operators by their own names, and not revoked."""
        rows = (row for row in self._store.current.values() if row.holder == "operator" and not row.revoked)
        return tuple(user(row.name.removeprefix(USER)) for row in rows if row.name.startswith(USER))

    def probe(self) -> Leaf:
        """Return a client's certificate of the coming or the former authority, to see who trusts it.

        It is valid for an hour, is kept nowhere and gives nobody a name, so it is not in the ledger.
        """
        authority = self.authorities.other or self.authority
        request = LeafRequest(holder="operator", name="probe", common_name="probe", usages=("client",))
        return authority.issue(request, replace(self._terms, lifetime=3600), now=now())

    def host_keys(self, nodes: Iterable[str]) -> Mapping[str, HostKey]:
        """Return the SSH host keys of all these nodes; what is missing is made in one batch.

        Raises:
            UsageError: the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        wanted = {node: self._store.hosts.get(node) or new_host_key() for node in nodes}
        self._store.save_keys(self._store.keys, self._store.hosts | wanted)
        return wanted

    def record(self, artifacts: Mapping[tuple[str, str], str]) -> None:
        """Note in the ledger which artefact each current certificate, by holder and name, went into.

        Raises:
            UsageError: the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        self._store.save_rows(ledger.recorded(self._store.rows, artifacts))

    def place(self, holders: Collection[str], card: str) -> None:
        """Note in the ledger where the current certificates of these holders are known to be.

        Raises:
            UsageError: the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        self._store.save_rows(ledger.placed(self._store.rows, holders, card))

    def _check_clock(
        self, clock: int | None, used: Iterable[tuple[str, str]], issuing: dt.datetime | None
    ) -> None:
        """Check it against the authority, certificates that are used again, and those that will be issued."""
        begins = [row.facts.not_before for key in used if (row := self._store.current.get(key))]
        begins += [self._terms.validity(issuing)[0]] if issuing else []
        check_clock(clock, max([self.authority.not_before, *begins]))

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
        return self._further.issuer(request.authority) if request.authority else self.authority

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
