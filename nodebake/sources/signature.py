"""Check the signature of a Debian archive's index with the host's own verifier and keyring."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# RFC 4880, 9.4: SHA-256, SHA-384, SHA-512, SHA-224 and the SHA-3 ones; what is below is broken.
WEAKEST_HASH = 8
UNSIGNED = "the index of Debian's archive is not signed by a key of Debian's archive"
# doc/DETAILS of GnuPG: VALIDSIG fingerprint date timestamp expiry version reserved key-algorithm hash ...
HASH_FIELD = 8


def keyring(paths: Iterable[str]) -> Path:
    """Return the first keyring of `paths` that this host has.

    Raises:
        InputError: it has none; names the package.
    """
    for path in map(Path, paths):
        if path.exists():
            return path
    raise InputError(
        "the keys of Debian's archive are not on this machine",
        hint="run as root: apt-get install --yes debian-archive-keyring",
    )


def signed_text(read: Callable[[str], bytes], keys: Path) -> str:
    """Return the signed part of a suite's index.

    Args:
        read: gives `InRelease`, or `Release` and `Release.gpg`.
        keys: the keyring to trust.

    Raises:
        InputError: no verifier is installed, or no key of the keyring signed it.
    """
    try:
        gpgv = find("gpgv", package="gpgv")
    except InputError:
        return with_sqv(read, keys)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        signed, text = scratch / "InRelease", scratch / "text"
        signed.write_bytes(read("InRelease"))
        # Status 2 is also what a host gets whose keyring lacks the newest of several keys.
        status = run(
            [gpgv, "--keyring", keys, "--status-fd", "1", "--output", text, signed], accept=(0, 1, 2)
        )
        if not accepted(status.decode(errors="replace")):
            raise InputError(
                UNSIGNED,
                hint=f"keys: {keys}",
            )
        return text.read_text(encoding="utf-8")


def with_sqv(read: Callable[[str], bytes], keys: Path) -> str:
    """Return what `signed_text` does, on a host that has Sequoia's verifier and not GnuPG's.

    Raises:
        InputError: sqv is not installed, or no key of the keyring signed it.
    """
    sqv = find("sqv", package="sqv")
    with tempfile.TemporaryDirectory() as name:
        text, signature = Path(name) / "Release", Path(name) / "Release.gpg"
        text.write_bytes(read(text.name))
        signature.write_bytes(read(signature.name))
        try:
            run([sqv, "--keyring", keys, signature, text])
        except BuildError as error:
            raise InputError(UNSIGNED, hint=str(error)) from error
        return text.read_text(encoding="utf-8")


def accepted(status: str) -> bool:
    """Judge gpgv's status lines as apt does: one good signature that is not weak, and no bad one."""
    signatures = [part.split("\n") for part in f"\n{status}".split("\n[GNUPG:] NEWSIG")[1:]]
    return any(map(_good, signatures)) and "\n[GNUPG:] BADSIG " not in status


def _good(signature: list[str]) -> bool:
    lines = [line.split()[1:] for line in signature if line.startswith("[GNUPG:] ")]
    strong = [line for line in lines if line[:1] == ["VALIDSIG"] and int(line[HASH_FIELD]) >= WEAKEST_HASH]
    return bool(strong) and any(line[:1] == ["GOODSIG"] for line in lines)
