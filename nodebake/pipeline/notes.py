"""What a build has to say about the certificates that it used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.profile.types import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nodebake.profile.pki import Pki
    from nodebake.vault import LedgerRow, Vault


def notes(
    vault: Vault, pki: Pki, *, used: Iterable[tuple[str, str]], directory: Path, snapshot: bool
) -> Iterator[str]:
    """Yield what the user must know.

    Args:
        vault: after the certificates were issued.
        pki: that section of the profile.
        used: holders and names of the certificates in use.
        directory: where the vault is.
        snapshot: whether one is baked in.
    """
    if vault.minted:
        yield (
            f"minted a new certificate authority, valid for {pki.authority.lifetime}, in {directory}; "
            f"its certificates are valid for {pki.leaf_lifetime}. Back that directory up: it is the cluster"
        )
    if vault.founding.snapshot and not snapshot:
        yield (
            "the cluster was restored from a snapshot: with these artefacts nodes can join it, and not found "
            "it; for that, run restore again, or image with --snapshot"
        )
    if late := _late(vault):
        yield (
            f"{', '.join(late)}: new in a cluster that was built before. If it runs, ./invoke members makes "
            "artefacts that join it; with these they could found another one"
        )
    for row in vault.issued:
        if row.reason != "new":
            yield f"issued {row.holder}'s {row.name} certificate again: {row.reason}"
    last = {row.key: row for row in vault.ledger()}
    yield from _kept(vault, pki, [last[key] for key in used])


def _late(vault: Vault) -> list[str]:
    """Return members that had no certificates when others had theirs, and may found the cluster."""
    issued = {row.facts.serial for row in vault.issued}
    members = [row for row in vault.ledger() if row.name == "server" and not row.revoked]
    if all(row.facts.serial in issued for row in members):
        return []
    new = {row.holder for row in members if row.reason == "new" and row.facts.serial in issued}
    return sorted(new - set(vault.founding.joining))


def _kept(vault: Vault, pki: Pki, rows: list[LedgerRow]) -> Iterator[str]:
    """Yield where what was issued before is not what the profile says now."""
    latest = int(vault.authority.not_after.timestamp())
    lifetime = seconds(pki.leaf_lifetime)
    ends = [
        row.facts.not_after
        for row in rows
        if row.facts.not_after.timestamp() != min(row.issued + lifetime, latest)
    ]
    if ends:
        yield (
            f"pki.leaf_lifetime is {pki.leaf_lifetime}, but {len(ends)} certificates issued before keep "
            f"their end, the first on {min(ends):%Y-%m-%d}; the new lifetime is for those issued from now on"
        )
    kinds = [row.facts.algorithm for row in rows if row.facts.algorithm != pki.algorithm]
    if kinds:
        yield (
            f"pki.algorithm is {pki.algorithm}, but {len(kinds)} keys made before stay "
            f"{', '.join(sorted(set(kinds)))}: the new kind is for new nodes, and for certs.renew --new-keys"
        )
