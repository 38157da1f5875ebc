"""The key that says who built: minted when it is first asked for, and never for a second time by itself.

It is no branch of the cluster's authority: who may build need not be able to issue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.errors import UsageError
from nodebake.pki import new_key, public_half
from nodebake.vault.files import locked
from nodebake.vault.identity import IDENTITY, identify

if TYPE_CHECKING:
    from pathlib import Path

KEY, PUBLIC = "signing.key", "signing.pub"


def signing_key(directory: Path, *, cluster: str, anew: bool = False) -> bytes:
    """Return the private key, PEM; its public half lies beside it in the vault, for who verifies.

    Args:
        directory: the vault itself.
        cluster: the name in the profile.
        anew: make another key in the place of the one that is there, or is lost.

    Raises:
        UsageError: there is no vault, it is another cluster's, or the key was lost.
        BuildError: the disk is full or failed.
    """
    if not (directory / IDENTITY).exists():
        hint = "build first, or name it with --vault; --signing-key FILE needs none"
        raise UsageError(f"there is no vault in {directory}", hint=hint)
    with locked(directory) as files:
        identify(files, cluster)
        there = files.has(KEY) and not anew
        if files.has(PUBLIC) and not there and not anew:
            raise UsageError(
                f"the signing key is lost: {directory} has {PUBLIC}, and no {KEY}",
                hint="put it back from a backup, or sign with --new-key: who verifies then needs the new "
                f"{PUBLIC}",
            )
        key = files.read(KEY) if there else new_key("ed25519")
        public = public_half(key)
        if not there:
            files.write(KEY, key)
        if not files.has(PUBLIC) or files.read(PUBLIC) != public:
            files.write(PUBLIC, public)
        return key


def public_key(directory: Path) -> bytes | None:
    """Return the public half, PEM; None where nothing was ever signed, or where there is no vault."""
    try:
        return (directory / PUBLIC).read_bytes()
    except OSError:
        return None
