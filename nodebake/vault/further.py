"""Authorities for other things than etcd: each is minted when it is first asked for, and then for ever.

They are no branches of the cluster's own authority: whoever one of them certifies must not be let into etcd.
Their keys are not encrypted, for they also lie on the nodes that use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodebake.pki import Authority, Leaf
from nodebake.vault.identity import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nodebake.pki import AuthorityRequest
    from nodebake.vault.files import Files

FURTHER = "authorities.json"
_SCHEMA = 1


class Further:
    """The further authorities of one vault.

    Args:
        files: the vault's.
        mint: makes a new authority.
    """

    def __init__(self, files: Files, mint: Callable[[AuthorityRequest], Authority]) -> None:
        """Read what there is.

        Raises:
            UsageError: it is damaged.
        """
        self._files, self._mint = files, mint
        self._known: dict[str, Leaf] = files.parsed(FURTHER, _SCHEMA, _from_json, missing={})

    def issuer(self, request: AuthorityRequest) -> Authority:
        """Return the authority itself, minted if it is missing.

        Raises:
            UsageError: the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        pair = self.get([request])[request.name]
        return Authority.load(pair.certificate, pair.key, now=now())

    def get(self, requests: Iterable[AuthorityRequest]) -> dict[str, Leaf]:
        """Return certificate and key by name; what is missing is minted in one batch.

        Raises:
            UsageError: the vault cannot be written to.
            BuildError: the disk is full or failed.
        """
        wanted = {request.name: request for request in requests}
        missing = {name: self._mint(request) for name, request in wanted.items() if name not in self._known}
        if missing:
            minted = {
                name: Leaf(certificate=authority.certificate, key=authority.key_pem(None))
                for name, authority in missing.items()
            }
            known = self._known | minted
            self._files.write_json(FURTHER, _to_json(known))
            self._known = known
        return {name: self._known[name] for name in wanted}


def _to_json(known: dict[str, Leaf]) -> dict[str, object]:
    pairs = {
        name: {"certificate": pair.certificate.decode(), "key": pair.key.decode()}
        for name, pair in known.items()
    }
    return {"schema": _SCHEMA, "authorities": pairs}


def _from_json(document: Any) -> dict[str, Leaf]:  # noqa: ANN401 - whatever the file holds
    return {
        name: Leaf(certificate=pair["certificate"].encode(), key=pair["key"].encode())
        for name, pair in document["authorities"].items()
    }
