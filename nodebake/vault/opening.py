"""Opening a vault: its lock, its identity, and the authority, minted, copied or read again."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nodebake.errors import UsageError
from nodebake.pki import Authority, Subject, Terms, is_encrypted
from nodebake.profile.types import seconds
from nodebake.vault.authorities import Authorities, Known, Names, certificates, load, store, stored_key, sweep
from nodebake.vault.brought import Brought
from nodebake.vault.files import broken, locked
from nodebake.vault.further import Further
from nodebake.vault.identity import check_clock, identify, now
from nodebake.vault.passphrase import Asker
from nodebake.vault.rotation import ROTATION, Rotation, read_rotation
from nodebake.vault.store import LEDGER, Store
from nodebake.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from nodebake.pki import AuthorityRequest
    from nodebake.profile.pki import Pki
    from nodebake.vault.files import Files


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
    asker = Asker(
        section=section, whose=f"{cluster}'s authority", directory=profile_dir, ask=ask, environ=environ
    )
    brought = Brought.named(pki.authority, profile_dir)
    # What can be wrong with a first authority is found before the directory is made.
    first = None if _begun(directory) else _prepare(pki, cluster, brought, asker)
    with locked(directory) as files:
        identity = identify(files, cluster)
        minted = first is not None and not _begun(directory)
        if first and minted:
            _store(files, first, brought=brought is not None)
        stored = first if first and minted else _stored(files, read_rotation(files), brought, asker)
        yield Vault(
            Store(files),
            identity=identity,
            authorities=Authorities(files, stored, mint=partial(_mint, pki, cluster)),
            further=Further(files, mint=partial(_mint_further, pki, cluster)),
            minted=minted and brought is None,
            terms=_terms(pki, pki.leaf_lifetime),
        )


def present_passphrase(
    pki: Pki,
    *,
    cluster: str,
    profile_dir: Path,
    ask: Callable[[str], str] | None,
    environ: Mapping[str, str],
) -> bytes:
    """Return the authority's pass phrase as the profile says where it is; see `open_vault`.

    Raises:
        UsageError: it says nothing of one, or it cannot be had.
    """
    section = pki.authority.passphrase
    asker = Asker(
        section=section, whose=f"{cluster}'s authority", directory=profile_dir, ask=ask, environ=environ
    )
    found = asker.passphrase(twice=False)
    if found is None:
        raise UsageError(
            "the profile does not want the authority's key encrypted",
            hint="say where its pass phrase comes from, pki.authority.passphrase, and build",
        )
    return found


def check_first(directory: Path, *, pki: Pki, clock: int | None) -> None:
    """Check, where there is no vault yet, that nodes could accept what one made now would issue.

    Args:
        directory: the vault.
        pki: that section of the profile.
        clock: where the nodes' clocks will start, seconds since 1970; None for the vault's epoch.

    Raises:
        UsageError: they would start too early.
    """
    if not _begun(directory):
        check_clock(clock, _terms(pki, pki.leaf_lifetime).validity(now())[0])


def _begun(directory: Path) -> bool:
    """Say whether a vault has had an authority: the first one, or a later one in its place."""
    return any(os.path.lexists(directory / name) for name in (Names.of(1).certificate, ROTATION))


def _prepare(pki: Pki, cluster: str, brought: Brought | None, asker: Asker) -> Known:
    if brought is None:
        passphrase = asker.passphrase(twice=True)
        return Known(issuing=_mint(pki, cluster, 1), passphrase=passphrase)
    key = brought.key()
    passphrase = asker.passphrase(twice=not is_encrypted(key))
    authority = Authority.load(
        brought.certificate(), key, chain_pem=brought.chain(), passphrase=passphrase, now=now()
    )
    return Known(issuing=authority, passphrase=passphrase)


def _mint(pki: Pki, cluster: str, number: int) -> Authority:
    """Return a new authority; none but the first has the first one's name."""
    name = pki.authority.common_name or f"{cluster} etcd CA"
    name = name if number == 1 else f"{name} {number}"
    return Authority.mint(name, _terms(pki, pki.authority.lifetime), now=now())


def _mint_further(pki: Pki, cluster: str, request: AuthorityRequest) -> Authority:
    """Return a new authority with a name of its own, and nothing of the profile's subject."""
    terms = replace(_terms(pki, pki.authority.lifetime), subject=Subject(), algorithm=request.algorithm)
    return Authority.mint(f"{cluster} {request.name} CA", terms, now=now())


def _store(files: Files, first: Known, *, brought: bool) -> None:
    names = Names.of(1)
    if files.has(LEDGER):
        raise broken(files.directory, f"{names.certificate}, which has issued certificates, is missing")
    if brought:
        files.write(names.brought, b"The authority was brought along.\n")
    store(files, 1, first.issuing, first.passphrase)


def _stored(files: Files, rotation: Rotation, brought: Brought | None, asker: Asker) -> Known:
    sweep(files, rotation)
    names = Names.of(rotation.issuing)
    key, kept = stored_key(files, rotation.issuing), certificates(files, rotation.issuing)
    if brought:
        brought.check_same(kept, files.directory, may_be_gone=files.has(names.brought))
    passphrase = asker.passphrase(twice=not is_encrypted(key))
    with _in_vault(files, rotation.issuing, brought):
        issuing = load(files, rotation.issuing, passphrase)
    return Known(
        issuing=issuing,
        other=load(files, rotation.other, passphrase, going=True) if rotation.other else None,
        rotation=rotation,
        passphrase=passphrase,
    )


@contextmanager
def _in_vault(files: Files, number: int, brought: Brought | None) -> Iterator[None]:
    """Name the vault's file in an error about the authority, where it is not one of the profile's."""
    ours = Names.of(number)
    names = {"pki.authority.key": ours.key}
    if brought is None:
        names |= {"pki.authority.certificate": ours.certificate, "pki.authority.chain": ours.chain}
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
