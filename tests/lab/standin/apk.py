"""Write packages and a signed repository as apk-tools 2 reads them: apk-package(5), apk-repositories(5)."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import stat
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from nodebake.tree import Entry, Tree, file
from tests.lab.standin.prime import prime_after

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_NAME = "standin@nodebake-tests.rsa.pub"
_EXPONENT = 65537
# In .PKGINFO, and as the index has it.
_FIELDS = {
    "pkgname": "P",
    "pkgver": "V",
    "arch": "A",
    "pkgdesc": "T",
    "url": "U",
    "license": "L",
    "origin": "o",
    "maintainer": "m",
    "builddate": "t",
    "commit": "c",
    "provider_priority": "k",
    "depend": "D",
    "provides": "p",
    "replaces": "r",
    "install_if": "i",
}
_LISTS = "Dpri"
_NOT_IN_INDEX = "r"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package before it is written.

    Attributes:
        facts: values by the letter the index has for them (`P` name, `V` version, `D` dependencies).
        tree: its files.
        scripts: by their name in the package, for instance `.post-install`.
        triggers: directories whose changes call `.trigger`.
    """

    facts: Mapping[str, str]
    tree: Tree
    scripts: Mapping[str, bytes] = field(default_factory=dict)
    triggers: tuple[str, ...] = ()


def repository(packages: list[Package]) -> dict[str, bytes]:
    """Return the files of a repository's directory for one architecture, by name."""
    files: dict[str, bytes] = {}
    stanzas = []
    for package in sorted(packages, key=lambda one: one.facts["P"]):
        control, data = _segments(package)
        files[f"{package.facts['P']}-{package.facts['V']}.apk"] = control + data
        stanzas.append(_stanza(package, control, len(control) + len(data)))
    index = _tar({"DESCRIPTION": file(b"stand-in"), "APKINDEX": file("\n".join(stanzas).encode())}, end=True)
    packed = gzip.compress(index, mtime=0)
    files["APKINDEX.tar.gz"] = _signature(packed) + packed
    return files


def public_key() -> bytes:
    """Return the key that systems trust which are to install from the repository, PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return _key().public_key().public_bytes(serialization.Encoding.PEM, form)


def _segments(package: Package) -> tuple[bytes, bytes]:
    """Return the control and the data segment, each a gzip member; only the last tar has an end."""
    data = gzip.compress(_tar(dict(package.tree.items()), end=True, checksums=True), mtime=0)
    lines = [f"{name} = {value}" for name, letter in _FIELDS.items() for value in _values(package, letter)]
    lines += [f"size = {_installed(package)}", f"datahash = {hashlib.sha256(data).hexdigest()}"]
    lines += [f"triggers = {' '.join(package.triggers)}"] if package.triggers else []
    members = {".PKGINFO": file("".join(f"{line}\n" for line in lines).encode())}
    members |= {name: file(content, 0o755) for name, content in package.scripts.items()}
    return gzip.compress(_tar(members, end=False), mtime=0), data


def _values(package: Package, letter: str) -> list[str]:
    value = package.facts.get(letter, "")
    return value.split() if letter in _LISTS else [value] if value else []


def _stanza(package: Package, control: bytes, size: int) -> str:
    digest = base64.b64encode(hashlib.sha1(control, usedforsecurity=False).digest()).decode()
    letters = [letter for letter in _FIELDS.values() if letter not in _NOT_IN_INDEX]
    lines = [f"{letter}:{package.facts[letter]}" for letter in letters if package.facts.get(letter)]
    return "\n".join([f"C:Q1{digest}", *lines, f"S:{size}", f"I:{_installed(package)}", ""])


def _installed(package: Package) -> int:
    return sum(len(entry.content) for _, entry in package.tree.items() if stat.S_ISREG(entry.mode))


def _tar(members: Mapping[str, Entry], *, end: bool, checksums: bool = False) -> bytes:
    to = io.BytesIO()
    for path, entry in members.items():
        info = tarfile.TarInfo(path)
        info.mode, info.uid, info.gid = stat.S_IMODE(entry.mode), entry.uid, entry.gid
        info.uname = info.gname = "root"
        if stat.S_ISDIR(entry.mode):
            info.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(entry.mode):
            info.type, info.linkname = tarfile.SYMTYPE, entry.content.decode()
        else:
            info.size = len(entry.content)
        if checksums and not stat.S_ISDIR(entry.mode):
            digest = hashlib.sha1(entry.content, usedforsecurity=False).hexdigest()
            info.pax_headers = {"APK-TOOLS.checksum.SHA1": digest}
        to.write(info.tobuf(tarfile.PAX_FORMAT))
        if info.size:
            to.write(entry.content + bytes(-info.size % tarfile.BLOCKSIZE))
    return to.getvalue() + bytes(2 * tarfile.BLOCKSIZE if end else 0)


def _signature(packed: bytes) -> bytes:
    signed = _key().sign(packed, padding.PKCS1v15(), hashes.SHA256())
    return gzip.compress(_tar({f".SIGN.RSA256.{KEY_NAME}": file(signed)}, end=False), mtime=0)


def _key() -> rsa.RSAPrivateKey:
    """Return the key of every stand-in. It is nobody's secret: the same input shall give the same bytes."""
    p, q = (prime_after(f"nodebake stand-in {name}", bits=1024, exponent=_EXPONENT) for name in "pq")
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(e=_EXPONENT, n=p * q),
    ).private_key()
