"""Which certificates a build's artefacts really hold, read back out of the archives themselves."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from base64 import b64decode
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from nodebake.errors import BuildError
from nodebake.manifest import MANIFEST, load
from nodebake.pki import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import IO, BinaryIO

    from nodebake.manifest import Artifact

OPERATOR = "operator"
_ARCHIVES = ("apkovl", "payload", "rootfs", "renewal")
_PEM = b"-----BEGIN CERTIFICATE-----"
_OF_USERS = re.compile(rb'client-certificate-data"?: *"?([A-Za-z0-9+/=]+)')  # in JSON and YAML
_LARGEST = 1 << 16  # bytes of a file with certificates


def serials_in(out: Path) -> Mapping[str, frozenset[str]]:
    """Return the serials of the certificates in what was built, by holder; a holder without a file is absent.

    Args:
        out: the build's directory; it need not be there.

    Raises:
        BuildError: the manifest or an artefact cannot be read.
    """
    if not (out / MANIFEST).exists():
        return {}
    manifest = load(out)
    holders = {**manifest.nodes, OPERATOR: manifest.operator}
    found = {holder: _serials(out, artefacts) for holder, artefacts in holders.items()}
    return {holder: serials for holder, serials in found.items() if serials}


def _serials(out: Path, artefacts: tuple[Artifact, ...]) -> frozenset[str]:
    serials: set[str] = set()
    for artefact in artefacts:
        path = out / artefact.path
        try:
            if artefact.kind in _ARCHIVES and path.exists():
                serials |= set(_in_archive(path))
            elif path.suffix == ".pem" and path.exists():
                serials.add(describe(path.read_bytes()).serial)
            elif path.name == "kubeconfig" and path.exists():
                serials |= {describe(b64decode(one)).serial for one in _OF_USERS.findall(path.read_bytes())}
        except (OSError, ValueError, EOFError, zlib.error, tarfile.TarError) as error:
            raise BuildError(f"{path} cannot be read: {error}", hint="build again") from error
    return frozenset(serials)


def _in_archive(path: Path) -> Iterator[str]:
    with path.open("rb") as file, _opened(path, file) as archive:
        for member in archive:
            if member.isfile() and member.size < _LARGEST:
                content = archive.extractfile(member)
                text = content.read() if content else b""
                if text.startswith(_PEM):
                    yield describe(text).serial


@contextmanager
def _opened(path: Path, file: BinaryIO) -> Iterator[tarfile.TarFile]:
    with _plain(path, file) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        yield archive


def _plain(path: Path, file: BinaryIO) -> IO[bytes]:
    """Return a reader of what is compressed; ours come in several members, which tarfile would not follow."""
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    from zstandard import ZstdDecompressor  # noqa: PLC0415 - slow to import, and few builds need it

    return io.BufferedReader(ZstdDecompressor().stream_reader(file, read_across_frames=True))
