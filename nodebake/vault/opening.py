"""Opening a vault: its lock, its identity, and the authority, minted, copied or read again."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake.errors import UsageError
from nodebake.pki import Authority, Subject, Terms, is_encrypted
from nodebake.profile.types import seconds
from nodebake.vault.brought import Brought
from nodebake.vault.files import broken, locked
from nodebake.vault.identity import check_clock, identify, now
from nodebake.vault.passphrase import Asker
from nodebake.vault.vault import LEDGER, Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from nodebake.profile.pki import Pki
    from nodebake.vault.files import Files

CERTIFICATE = "ca.crt"
CHAIN = "ca.chain.crt"
BROUGHT = "ca.brought"
KEY = "ca.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    authority: Authority
    passphrase: bytes | None = field(repr=False)


@contextmanager
def open_vault(
    directory: Path,
    *,
    cluster: str,
    pki: Pki,
    profile_dir: Path,
    ask: Callable[[str], str] | None,
    environ: Mapping[str, str],
) -> Iterator[Vault]:
    """Open a cluster's vault, made if it is not there, and keep it locked meanwhile.

    Args:
        directory: the vault itself, `vault/<cluster>`.
        cluster: the name in the profile.
        pki: that section of the profile.
        profile_dir: what file names in the profile are relative to.
        ask: shows a prompt and returns what was typed, unseen; None without a terminal.
        environ: where a pass phrase may be.

    Raises:
        UsageError: the vault, the authority or the pass phrase cannot be used; says what to do.
        BuildError: the disk is full or failed.
    """
    section = pki.authority.passphrase
    asker = Asker(section=section, cluster=cluster, directory=profile_dir, ask=ask, environ=environ)
    brought = Brought.named(pki.authority, profile_dir)
    # What can be wrong with a first authority is found before the directory is made.
    first = None if os.path.lexists(directory / CERTIFICATE) else _prepare(pki, cluster, brought, asker)
    with locked(directory) as files:
        identity = identify(files, cluster)
        minted = first is not None and not files.has(CERTIFICATE)
        if first and minted:
            _store(files, first, brought=brought is not None)
        yield Vault(
            files,
            identity=identity,
            authority=first.authority if first and minted else _stored(files, brought, asker),
            minted=minted and brought is None,
            terms=_terms(pki, pki.leaf_lifetime),
        )


def check_first(directory: Path, *, pki: Pki, clock: int | None) -> None:
    """Check, where there is no vault yet, that nodes could accept what one made now would issue.

    Args:
        directory: the vault.
        pki: that section of the profile.
        clock: where the nodes' clocks will start, seconds since 1970; None for the vault's epoch.

    Raises:
        UsageError: they would start too early.
    """
    if not os.path.lexists(directory / CERTIFICATE):
        check_clock(clock, _terms(pki, pki.leaf_lifetime).validity(now())[0])


def _prepare(pki: Pki, cluster: str, brought: Brought | None, asker: Asker) -> _Prepared:
    if brought is None:
        name = pki.authority.common_name or f"{cluster} etcd CA"
        passphrase = asker.passphrase(twice=True)
        authority = Authority.mint(name, _terms(pki, pki.authority.lifetime), now=now())
        return _Prepared(authority=authority, passphrase=passphrase)
    key = brought.key()
    passphrase = asker.passphrase(twice=not is_encrypted(key))
    authority = Authority.load(
        brought.certificate(), key, chain_pem=brought.chain(), passphrase=passphrase, now=now()
    )
    return _Prepared(authority=authority, passphrase=passphrase)


def _store(files: Files, first: _Prepared, *, brought: bool) -> None:
    if files.has(LEDGER):
        raise broken(files.directory, f"{CERTIFICATE}, which has issued certificates, is missing")
    files.write(KEY, first.authority.key_pem(first.passphrase))
    if first.authority.chain:
        files.write(CHAIN, first.authority.chain)
    if brought:
        files.write(BROUGHT, b"The authority was brought along.\n")
    files.write(CERTIFICATE, first.authority.certificate)


def _stored(files: Files, brought: Brought | None, asker: Asker) -> Authority:
    if not files.has(KEY):
        raise broken(files.directory, f"{KEY}, the authority's key, is missing")
    key = files.read(KEY)
    certificate, chain = files.read(CERTIFICATE), files.read(CHAIN) if files.has(CHAIN) else b""
    if brought:
        brought.check_same(certificate + chain, files.directory, may_be_gone=files.has(BROUGHT))
    passphrase = asker.passphrase(twice=not is_encrypted(key))
    with _in_vault(files, brought):
        authority = Authority.load(certificate, key, chain_pem=chain, passphrase=passphrase, now=now())
    if passphrase and not is_encrypted(key):
        files.write(KEY, authority.key_pem(passphrase))
    return authority


@contextmanager
def _in_vault(files: Files, brought: Brought | None) -> Iterator[None]:
    """Name the vault's file in an error about the authority, where it is not one of the profile's."""
    names = {"pki.authority.key": KEY}
    if brought is None:
        names |= {"pki.authority.certificate": CERTIFICATE, "pki.authority.chain": CHAIN}
    try:
        yield
    except UsageError as error:
        if error.path not in names:
            raise
        raise UsageError(f"{files.directory / names[error.path]}: {error.what}", hint=error.hint) from error


def _terms(pki: Pki, lifetime: str) -> Terms:
    return Terms(
        subject=Subject(**pki.subject.model_dump()),
        algorithm=pki.algorithm,
        lifetime=seconds(lifetime),
        backdate=seconds(pki.backdate),
    )
