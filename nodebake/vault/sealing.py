"""A whole vault as one encrypted file, for a backup and for handing it over; the owner of `pyrage`.

The file is an age file (https://age-encryption.org/v1) for a pass phrase, and in it a tar archive of the
vault's files: `age -d FILE | tar -x` opens it without this program.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from typing import TYPE_CHECKING

from nodebake.errors import BuildError, SafetyError, UsageError
from nodebake.tree import Tree, file, write_tar
from nodebake.vault.files import locked
from nodebake.vault.identity import IDENTITY, identify
from nodebake.vault.looking import seen_in

if TYPE_CHECKING:
    from pathlib import Path

_LOCK = "lock"
# age refuses what it takes this machine to be too slow for, by a measurement of a millisecond, which anything
# else on the machine makes longer: it is asked again.
_REFUSAL, _ATTEMPTS = "Excessive work", 50


def export(directory: Path, to: Path, *, cluster: str, passphrase: str) -> None:
    """Write the vault of a cluster to one encrypted file.

    Args:
        directory: the vault itself.
        to: the file; it must not be there.
        cluster: the name in the profile.
        passphrase: opens the file; what is encrypted in the vault stays so in it.

    Raises:
        UsageError: there is no vault, it is another cluster's, or a build holds it.
        SafetyError: the file is there already.
        BuildError: it could not be written.
    """
    from pyrage import passphrase as age  # noqa: PLC0415 - loading it is for who needs it

    if not (directory / IDENTITY).exists():
        raise UsageError(f"there is no vault in {directory}", hint="name it with --vault")
    with locked(directory) as files:
        identify(files, cluster)
        names = sorted(path.name for path in directory.iterdir() if path.name != _LOCK)
        tree = Tree({name: file(files.read(name), 0o600) for name in names})
    plain = io.BytesIO()
    write_tar(tree, plain, epoch=0)
    _write_new(to, age.encrypt(plain.getvalue(), passphrase))


def bring_back(directory: Path, sealed: Path, *, cluster: str, passphrase: str) -> None:
    """Make the vault of a cluster from an encrypted file.

    Args:
        directory: the vault itself; it must not be there.
        sealed: the file.
        cluster: the name in the profile.
        passphrase: opens the file.

    Raises:
        UsageError: the file cannot be read, is another cluster's, or the pass phrase is wrong.
        SafetyError: there is a vault already.
        BuildError: the vault could not be written; nothing is left of it.
    """
    if directory.exists() and any(directory.iterdir()):
        raise SafetyError(
            f"there is a vault in {directory} already",
            hint="a vault is never overwritten: move it away first, or name another place with --vault",
        )
    contents = _open(sealed, passphrase)
    # Under a name of its own first: a vault is there whole or not at all.
    new = directory.with_name(f"{directory.name}.import-{os.getpid()}")
    try:
        with locked(new) as files:
            for name, content in contents.items():
                files.write(name, content)
            identify(files, cluster)
            seen_in(files, epoch=None)
        if directory.exists():
            directory.rmdir()
        new.rename(directory)
    except OSError as error:
        raise BuildError(f"cannot make {directory}: {error.strerror}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _open(sealed: Path, passphrase: str) -> dict[str, bytes]:
    from pyrage import DecryptError  # noqa: PLC0415 - loading it is for who needs it

    try:
        plain = _decrypted(sealed.read_bytes(), passphrase)
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            return {one.name: _content(archive, one) for one in archive if one.name != _LOCK}
    except OSError as error:
        raise UsageError(f"cannot read {sealed}: {error.strerror}") from error
    except DecryptError as error:
        slow = str(error).startswith(_REFUSAL)
        hint = "open it where it was made" if slow else "the pass phrase is wrong, or it is no such file"
        raise UsageError(f"{sealed} cannot be opened: {error}", hint=hint) from error
    except (tarfile.TarError, ValueError) as error:
        raise UsageError(f"{sealed} does not hold a vault: {error}") from error


def _decrypted(content: bytes, passphrase: str) -> bytes:
    from pyrage import DecryptError  # noqa: PLC0415 - loading it is for who needs it
    from pyrage import passphrase as age  # noqa: PLC0415 - the same

    left = _ATTEMPTS
    while True:
        try:
            plain: bytes = age.decrypt(content, passphrase)
        except DecryptError as error:
            left -= 1
            if not left or not str(error).startswith(_REFUSAL):
                raise
        else:
            return plain


def _content(archive: tarfile.TarFile, one: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(one) if one.isfile() and "/" not in one.name else None
    if content is None:
        raise ValueError(f"{one.name} is not a plain file")
    return content.read()


def _write_new(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise SafetyError(f"{path} is there already", hint="name another file, or move it away") from error
    except OSError as error:
        raise BuildError(f"cannot write {path}: {error.strerror}") from error
    try:
        with open(descriptor, "wb") as file_:  # noqa: PTH123 - private from birth
            file_.write(content)
            file_.flush()
            os.fsync(file_.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise BuildError(f"cannot write {path}: {error.strerror}") from error
