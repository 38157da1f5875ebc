"""The files of an authority that the user brings along; the vault keeps a copy of the first ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.errors import UsageError
from nodebake.pki import same_certificates

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.profile.pki import Authority


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """Where the profile says that an authority's parts are."""

    certificate_path: Path
    key_path: Path
    chain_path: Path | None

    @classmethod
    def named(cls, section: Authority, directory: Path) -> Brought | None:
        """Return what the profile names, relative to its directory, or None if it brings no authority."""
        if section.certificate is None or section.key is None:
            return None
        return cls(
            certificate_path=directory / section.certificate,
            key_path=directory / section.key,
            chain_path=directory / section.chain if section.chain else None,
        )

    def certificate(self) -> bytes:
        """Return the content of the certificate's file; raises UsageError."""
        return _read(self.certificate_path, "certificate")

    def key(self) -> bytes:
        """Return the content of the key's file; raises UsageError."""
        return _read(self.key_path, "key")

    def chain(self) -> bytes:
        """Return the content of the chain's file, empty if none is named; raises UsageError."""
        return _read(self.chain_path, "chain") if self.chain_path else b""

    def check_same(self, kept: bytes, vault: Path, *, may_be_gone: bool) -> None:
        """Check that the files hold no certificate but those in the vault.

        Args:
            kept: the vault's certificates, PEM.
            vault: the vault, for the message.
            may_be_gone: the vault has its copy of them, so the user may have put them out of reach.

        Raises:
            UsageError: they hold another authority, or another chain, or are not there.
        """
        if may_be_gone and not self.certificate_path.exists():
            return
        chain = self.chain() if self.chain_path and self.chain_path.exists() else b""
        if not same_certificates(self.certificate(), chain, kept=kept):
            raise UsageError(
                f"{self.certificate_path} is not the authority that {vault} began with",
                hint="nodes trust the first one only: put its files back; to change the authority, name "
                "another place for a new vault with --vault and install every node afresh",
                path="pki.authority.certificate",
            )


def _read(path: Path, part: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            hint="the name is relative to the profile's directory",
            path=f"pki.authority.{part}",
        ) from error
