"""An open vault: hands out leaves and host keys, the same ones until it is told otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nodebake.errors import UsageError
from nodebake.pki import USER, HostKey, Leaf, LeafRequest, new_host_key, user
from nodebake.vault import ledger
from nodebake.vault.files import broken
from nodebake.vault.founding import read_founding, write_founding
from nodebake.vault.given import read_given, write_given
from nodebake.vault.identity import Identity, now
from nodebake.vault.issuing import Issuing

if TYPE_CHECKING:
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
        self._issuing = Issuing(store, authorities=authorities, further=further, terms=terms)
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

    @property
    def issued(self) -> tuple[LedgerRow, ...]:
        """The rows of the certificates issued since the vault was opened, each with its reason."""
        return self._issuing.issued

    def leaves(
        self, requests: Iterable[LeafRequest], *, clock: int | None = None
    ) -> Mapping[tuple[str, str], Leaf]:
        """Return the leaves by holder and name; see `Issuing.leaves`."""
        return self._issuing.leaves(requests, clock=clock)

    def renew(
        self, requests: Iterable[LeafRequest], *, within: float, new_keys: bool, clock: int | None = None
    ) -> tuple[LedgerRow, ...]:
        """Issue leaves again that are fine still; see `Issuing.renew`."""
        return self._issuing.renew(requests, within=within, new_keys=new_keys, clock=clock)

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
