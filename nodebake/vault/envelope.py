"""Files that only some may read: encrypted with age (https://age-encryption.org/v1) for public keys."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from nodebake.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def check_recipients(recipients: Iterable[str]) -> None:
    """See that every recipient is a public key of age (X25519, `age1...`).

    Raises:
        UsageError: one is not.
    """
    from pyrage import RecipientError, x25519  # noqa: PLC0415 - loading it is for who needs it

    for recipient in recipients:
        try:
            x25519.Recipient.from_str(recipient)
        except RecipientError as error:
            hint = "age-keygen makes a key, and prints the recipient: age1..."
            if recipient.upper().startswith("AGE-SECRET-KEY-"):
                raise UsageError("a recipient is a private key; it was not used", hint=hint) from error
            raise UsageError(f"{recipient} is not an age recipient: {error}", hint=hint) from error


def seal(plain: IO[bytes], to: IO[bytes], recipients: Iterable[str]) -> None:
    """Encrypt `plain` for `recipients`, whose keys are good."""
    from pyrage import encrypt_io, x25519  # noqa: PLC0415 - loading it is for who needs it

    encrypt_io(plain, to, [x25519.Recipient.from_str(recipient) for recipient in recipients])


def check_identity(path: Path) -> None:
    """See that `path` holds private keys of age, as age-keygen writes them.

    Raises:
        UsageError: it does not, or cannot be read.
    """
    _identities(path)


def unseal(sealed: IO[bytes], to: IO[bytes], identity: Path, *, what: str) -> None:
    """Decrypt `sealed` with a private key in the file `identity`.

    Args:
        sealed: an age file.
        to: where its content goes; of no use after an error.
        identity: the keys' file.
        what: what it is, for messages.

    Raises:
        UsageError: no key in the file opens it, or there is none.
        InputError: it is damaged.
    """
    from pyrage import DecryptError, decrypt_io  # noqa: PLC0415 - loading it is for who needs it

    keys = _identities(identity)
    try:
        decrypt_io(sealed, to, keys)
    except DecryptError as error:
        raise UsageError(
            f"{what} is not encrypted for a key in {identity}", hint="name the right one with --identity"
        ) from error
    except OSError as error:
        if error.errno:  # of the system, such as a full disk
            raise
        raise InputError(f"{what} cannot be decrypted: it is damaged") from error


def _identities(path: Path) -> list[object]:
    from pyrage import IdentityError, x25519  # noqa: PLC0415 - loading it is for who needs it

    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
        keys = [x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except OSError as error:
        raise UsageError(f"--identity {path}: {error.strerror}") from error
    except (IdentityError, UnicodeDecodeError) as error:
        hint = "it is what age-keygen writes: a line AGE-SECRET-KEY-1..."
        raise UsageError(f"--identity {path} is no file of age's private keys", hint=hint) from error
    if not keys:
        raise UsageError(f"--identity {path} has no key in it")
    return keys
