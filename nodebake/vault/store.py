"""What a vault has handed out, on disk before anybody gets it: keys, then the ledger of certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodebake.pki import HostKey
from nodebake.vault import ledger
from nodebake.vault.files import Files, broken

if TYPE_CHECKING:
    from nodebake.vault.ledger import LedgerRow

KEYS = "keys.json"
LEDGER = "ledger.json"
_SCHEMA = 1
_Keys = dict[tuple[str, str], bytes]
_Hosts = dict[str, HostKey]


class Store:
    """The keys and the ledger of one vault.

    Attributes:
        files: the vault's.
        keys: every leaf's key, PEM, by holder and name.
        hosts: SSH host keys by node.
        rows: every certificate ever issued, oldest first.
        current: the last row of each holder and name.
    """

    def __init__(self, files: Files) -> None:
        """Read both files.

        Raises:
            UsageError: one of them is damaged, or a key is missing.
        """
        self.files = files
        none: tuple[_Keys, _Hosts] = {}, {}
        self.keys, self.hosts = files.parsed(KEYS, _SCHEMA, _keys_from_json, missing=none)
        self.rows: tuple[LedgerRow, ...] = files.parsed(LEDGER, ledger.SCHEMA, ledger.from_json, missing=())
        self.current = {row.key: row for row in self.rows}
        for row in self.rows:
            if row.key not in self.keys:
                raise broken(files.directory / KEYS, f"the key of {row.holder}'s {row.name} is missing")

    def save_keys(self, keys: _Keys, hosts: _Hosts) -> None:
        """Keep these keys, on the disk when this returns; nothing is written if nothing is new."""
        if keys != self.keys or hosts != self.hosts:
            self.files.write_json(KEYS, keys_to_json(keys, hosts))
            self.keys, self.hosts = keys, hosts

    def save_rows(self, rows: tuple[LedgerRow, ...]) -> None:
        """Keep these rows, on the disk when this returns; nothing is written if nothing is new."""
        if rows != self.rows:
            self.files.write_json(LEDGER, ledger.to_json(rows))
            self.rows, self.current = rows, {row.key: row for row in rows}


def keys_to_json(keys: _Keys, hosts: _Hosts) -> dict[str, object]:
    """Return what `keys.json` holds."""
    leaves: dict[str, dict[str, str]] = {}
    for (holder, name), key in keys.items():
        leaves.setdefault(holder, {})[name] = key.decode()
    ssh = {
        node: {"private": key.private.decode(), "public": key.public.decode()} for node, key in hosts.items()
    }
    return {"schema": _SCHEMA, "leaves": leaves, "hosts": ssh}


def _keys_from_json(document: Any) -> tuple[_Keys, _Hosts]:  # noqa: ANN401 - whatever the file holds
    leaves = {
        (holder, name): key.encode()
        for holder, named in document["leaves"].items()
        for name, key in named.items()
    }
    hosts = {
        node: HostKey(private=key["private"].encode(), public=key["public"].encode())
        for node, key in document["hosts"].items()
    }
    return leaves, hosts
