"""The authorities of a vault: the one that issues and, while it changes, the coming or the former one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake.errors import SafetyError, UsageError
from nodebake.pki import Authority, describe, is_encrypted
from nodebake.vault.files import broken, locked
from nodebake.vault.identity import IDENTITY, identify, now
from nodebake.vault.rotation import Rotation, read_rotation, write_rotation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from nodebake.vault.files import Files

_OURS = re.compile(r"ca(-\d+)?\.(key|crt|chain\.crt|brought)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The files of one authority.

    Attributes:
        key: its key, encrypted if the profile gives a pass phrase; written first.
        chain: the certificates above a brought intermediate.
        brought: there if it was brought along, not minted.
        certificate: its certificate; written last, nothing is issued before it.
    """

    key: str
    chain: str
    brought: str
    certificate: str

    @classmethod
    def of(cls, number: int) -> Names:
        """Return the names of the first authority, `ca.crt`..., or of a later one, `ca-2.crt`..."""
        stem = "ca" if number == 1 else f"ca-{number}"
        return cls(
            key=f"{stem}.key",
            chain=f"{stem}.chain.crt",
            brought=f"{stem}.brought",
            certificate=f"{stem}.crt",
        )

    def all(self) -> tuple[str, ...]:
        """Return all four."""
        return self.key, self.chain, self.brought, self.certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an opening knows of a vault's authorities.

    Attributes:
        issuing: signs every leaf.
        other: the coming one (step `trust`) or the former one (`issue`, `drop`); None between changes.
        rotation: how far the change has come.
        passphrase: of all their keys; None if the profile wants none.
    """

    issuing: Authority
    other: Authority | None = None
    rotation: Rotation = field(default_factory=Rotation)
    passphrase: bytes | None = field(repr=False)


class Authorities:
    """The authorities of an open vault, and the way from one to the next.

    Attributes:
        issuing, other, rotation: see `Known`.
    """

    def __init__(self, files: Files, known: Known, *, mint: Callable[[int], Authority]) -> None:
        """Take what there is; `mint` makes the coming authority, of the number it is given."""
        self._files, self._mint, self._passphrase = files, mint, known.passphrase
        self.issuing, self.other, self.rotation = known.issuing, known.other, known.rotation

    @property
    def trust(self) -> bytes:
        """What the nodes are to trust, PEM: the issuing authority, and during a change the other."""
        both = self.other and self.rotation.step in {"trust", "issue"}
        return self.issuing.trust + (self.other.trust if self.other and both else b"")

    def confirm(self, nodes: Iterable[str]) -> None:
        """Remember that these nodes have the step under way."""
        self._remember(self.rotation.with_nodes(nodes))

    def advance(self, nodes: Iterable[str]) -> None:
        """Begin the next step; after the last one, forget the former authority.

        Args:
            nodes: all nodes of the cluster.

        Raises:
            SafetyError: a node is not known to have the step under way, or the authority is the user's own.
        """
        before, after = self.rotation, self.rotation.next(now=int(now().timestamp()))
        if before.step and (missing := before.missing(nodes)):
            raise SafetyError(
                f"step {before.step} is not known to be on {', '.join(missing)}",
                hint="push it (--push), have the running nodes asked (--live), or say so: --confirm NODE",
            )
        if after.step == "trust":
            self.other = self._minted(after)
        self._remember(after)
        if after.step == "issue" and self.other:
            self.issuing, self.other = self.other, self.issuing
        elif not after.step:
            self.other = None
            sweep(self._files, after)

    def _minted(self, after: Rotation) -> Authority:
        if self._files.has(Names.of(after.issuing).brought):
            raise SafetyError(
                "the authority was brought along, and a new one cannot be minted in its place",
                hint="have your authority issue another intermediate, and begin with it in a new vault",
            )
        authority = self._mint(after.other)
        store(self._files, after.other, authority, self._passphrase)
        return authority

    def _remember(self, rotation: Rotation) -> None:
        if rotation != self.rotation:
            write_rotation(self._files, rotation)
            self.rotation = rotation


def certificates(files: Files, number: int) -> bytes:
    """Return an authority's certificate and those above it, PEM."""
    names = Names.of(number)
    return files.read(names.certificate) + (files.read(names.chain) if files.has(names.chain) else b"")


def stored_key(files: Files, number: int) -> bytes:
    """Return an authority's key as it is stored.

    Raises:
        UsageError: it is missing.
    """
    name = Names.of(number).key
    if not files.has(name):
        raise broken(files.directory, f"{name}, the authority's key, is missing")
    return files.read(name)


def load(files: Files, number: int, passphrase: bytes | None, *, going: bool = False) -> Authority:
    """Return an authority that the vault has; its key is encrypted from now on, if there is a pass phrase.

    Args:
        files: the vault's.
        number: which one.
        passphrase: of its key; None if the profile wants none.
        going: it issues nothing any more, so that it may have expired.

    Raises:
        UsageError: a part is missing, damaged or out of its time, or the pass phrase is wrong.
    """
    key, pem = stored_key(files, number), certificates(files, number)
    present = min(now(), describe(pem).not_after) if going else now()
    authority = Authority.load(pem, key, passphrase=passphrase, now=present)
    if passphrase and not is_encrypted(key):
        files.write(Names.of(number).key, authority.key_pem(passphrase))
    return authority


def store(files: Files, number: int, authority: Authority, passphrase: bytes | None) -> None:
    """Put an authority into the vault; its certificate comes last."""
    names = Names.of(number)
    files.write(names.key, authority.key_pem(passphrase))
    if authority.chain:
        files.write(names.chain, authority.chain)
    files.write(names.certificate, authority.certificate)


def change_passphrase(directory: Path, *, cluster: str, old: bytes | None, new: bytes) -> None:
    """Encrypt every authority's key with a new pass phrase; a change that died goes on.

    Args:
        directory: the vault.
        cluster: the name in the profile.
        old: what opens the keys now.
        new: what opens them from now on.

    Raises:
        UsageError: there is no vault, or neither pass phrase opens a key; nothing is changed.
        BuildError: the disk is full or failed.
    """
    if not (directory / IDENTITY).exists():
        raise UsageError(f"there is no vault in {directory}", hint="name it with --vault")
    with locked(directory) as files:
        identify(files, cluster)
        rotation = read_rotation(files)
        numbers = [number for number in (rotation.issuing, rotation.other) if number]
        found = {number: _opened(files, number, (old, new)) for number in numbers}
        for number, authority in found.items():
            files.write(Names.of(number).key, authority.key_pem(new))


def _opened(files: Files, number: int, passphrases: Sequence[bytes | None]) -> Authority:
    """Return an authority that one of the pass phrases opens; the last one's error counts least."""
    pem, key = certificates(files, number), stored_key(files, number)
    first: UsageError | None = None
    for passphrase in passphrases:
        try:
            return Authority.load(pem, key, passphrase=passphrase, now=describe(pem).not_after)
        except UsageError as error:
            first = first or error
    raise first or UsageError("no pass phrase is given")


def sweep(files: Files, rotation: Rotation) -> None:
    """Remove the files of authorities that nobody needs any more, or that a change had only begun to make."""
    kept = {name for number in (rotation.issuing, rotation.other) for name in Names.of(number).all()}
    for path in files.directory.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in kept:
            path.unlink()
