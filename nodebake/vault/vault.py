"""An open vault: hands out leaves and host keys, the same ones for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodebake.pki import HostKey, Leaf, LeafRequest, new_host_key, new_key
from nodebake.vault import ledger
from nodebake.vault.files import Files, broken, check_schema
from nodebake.vault.identity import Identity, check_clock, now

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    from nodebake.pki import Authority, Terms
    from nodebake.vault.ledger import LedgerRow

KEYS = "keys.json"
LEDGER = "ledger.json"
_SCHEMA = 1


class Vault:
    """The secrets of one cluster, on disk before anybody gets them.

    Attributes:
        authority: the cluster's certificate authority.
        minted: whether this opening made the authority; the user must be told where it is.
        issued: the rows of the certificates issued since the vault was opened, each with its reason.
    """

    def __init__(
        self, files: Files, *, identity: Identity, authority: Authority, minted: bool, terms: Terms
    ) -> None:
        """Read the keys and the ledger.

        Raises:
            UsageError: one of them is damaged, or a key is missing.
        """
        self._files, self._identity, self._terms = files, identity, terms
        self.authority, self.minted = authority, minted
        self.issued: tuple[LedgerRow, ...] = ()
        self._keys, self._hosts = _read_keys(files)
        self._rows = _read_rows(files)
        for row in self._rows:
            if row.key not in self._keys:
                raise broken(files.directory / KEYS, f"the key of {row.holder}'s {row.name} is missing")
        self._current = {row.key: row for row in self._rows}

    @property
    def id(self) -> str:
        """The cluster's UUID."""
        return self._identity.id

    @property
    def token(self) -> str:
        """The etcd cluster token."""
        return self._identity.token

    @property
    def epoch(self) -> int:
        """When anything in the vault was last issued, seconds since 1970."""
        return max([self._identity.created, *(row.issued for row in self._rows)])

    def ledger(self) -> tuple[LedgerRow, ...]:
        """Return a row for every certificate ever issued, oldest first."""
        return self._rows

    def leaves(
        self, requests: Iterable[LeafRequest], *, clock: int | None = None
    ) -> Mapping[tuple[str, str], Leaf]:
        """Return the leaves by holder and name; what is missing is issued in one batch.

        A certificate is used again while it says what is asked for, comes from the present authority and
        has not expired. A key is used for ever. `issued` tells what was new, and why.

        Args:
            requests: what is wanted.
            clock: where the holders' clocks will start, seconds since 1970; None for `epoch`.

        Raises:
            UsageError: the authority may not certify a name, a certificate begins after `clock`, or the vault
                cannot be written to.
            BuildError: the disk is full or failed.
        """
        wanted = {(request.holder, request.name): request for request in requests}
        keys = {key: self._keys.get(key) or new_key(self._terms.algorithm) for key in wanted}
        rows = [row for key, request in wanted.items() if (row := self._renewed(request, keys[key]))]
        self._check_clock(clock, rows, wanted)
        self._save_keys(self._keys | keys, self._hosts)
        if rows:
            self._save_rows((*self._rows, *rows))
            self.issued = (*self.issued, *rows)
        return {
            key: self.authority.leaf(self._current[key].certificate.encode(), keys[key]) for key in wanted
        }

    def host_keys(self, nodes: Iterable[str]) -> Mapping[str, HostKey]:
        """Return the SSH host keys of all these nodes; what is missing is made in one batch.

        Raises:
            UsageError: the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        wanted = {node: self._hosts.get(node) or new_host_key() for node in nodes}
        self._save_keys(self._keys, self._hosts | wanted)
        return wanted

    def record(self, artifacts: Mapping[tuple[str, str], str]) -> None:
        """Note in the ledger which artefact each current certificate, by holder and name, went into.

        Raises:
            UsageError: the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        rows = ledger.recorded(self._rows, artifacts)
        if rows != self._rows:
            self._save_rows(rows)

    def _check_clock(
        self, clock: int | None, new: list[LedgerRow], wanted: Iterable[tuple[str, str]]
    ) -> None:
        rows = self._current | {row.key: row for row in new}
        begins = [self.authority.not_before, *(rows[key].facts.not_before for key in wanted)]
        check_clock(clock, max(begins))

    def _renewed(self, request: LeafRequest, key: bytes) -> LedgerRow | None:
        present = now()
        reason = self._reason(request, key, present)
        if not reason:
            return None
        certificate = self.authority.issue(request, self._terms, now=present, key=key).certificate
        return ledger.row(
            holder=request.holder,
            name=request.name,
            issued=int(present.timestamp()),
            reason=reason,
            certificate=certificate,
        )

    def _reason(self, request: LeafRequest, key: bytes, present: dt.datetime) -> str:
        current = self._current.get((request.holder, request.name))
        if current is None:
            return "new"
        certificate = current.certificate.encode()
        try:
            return self.authority.objection(certificate, request, self._terms, key=key, now=present)
        except ValueError as error:
            what = f"key or certificate of {request.holder}'s {request.name}: {error}"
            raise broken(self._files.directory, what) from error

    def _save_keys(self, keys: dict[tuple[str, str], bytes], hosts: dict[str, HostKey]) -> None:
        if keys != self._keys or hosts != self._hosts:
            self._files.write_json(KEYS, self._keys_to_json(keys, hosts))
            self._keys, self._hosts = keys, hosts

    def _save_rows(self, rows: tuple[LedgerRow, ...]) -> None:
        self._files.write_json(LEDGER, ledger.to_json(rows))
        self._rows = rows
        self._current = {row.key: row for row in rows}

    @staticmethod
    def _keys_to_json(keys: dict[tuple[str, str], bytes], hosts: dict[str, HostKey]) -> dict[str, object]:
        leaves: dict[str, dict[str, str]] = {}
        for (holder, name), key in keys.items():
            leaves.setdefault(holder, {})[name] = key.decode()
        ssh = {
            node: {"private": key.private.decode(), "public": key.public.decode()}
            for node, key in hosts.items()
        }
        return {"schema": _SCHEMA, "leaves": leaves, "hosts": ssh}


def _read_keys(files: Files) -> tuple[dict[tuple[str, str], bytes], dict[str, HostKey]]:
    if not files.has(KEYS):
        return {}, {}
    document: Any = files.read_json(KEYS)
    try:
        check_schema(document, _SCHEMA)
        leaves = {
            (holder, name): key.encode()
            for holder, named in document["leaves"].items()
            for name, key in named.items()
        }
        hosts = {
            node: HostKey(private=key["private"].encode(), public=key["public"].encode())
            for node, key in document["hosts"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise broken(files.directory / KEYS, f"not what this tool writes ({error})") from error
    return leaves, hosts


def _read_rows(files: Files) -> tuple[LedgerRow, ...]:
    if not files.has(LEDGER):
        return ()
    try:
        return ledger.from_json(files.read_json(LEDGER))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise broken(files.directory / LEDGER, f"not what this tool writes ({error})") from error
