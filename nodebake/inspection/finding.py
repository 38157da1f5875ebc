"""What was found in a file, as facts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nodebake.formats.apkovl import PROGRAMS
from nodebake.pki import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nodebake.inspection.files import File

RELEASE = "etc/nodebake-release"
_HOST = "etc/hostname"
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_LINE = re.compile(r'(?m)^(\w+)="(.*)"$')
_ELF = b"\x7fELF"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate in a file; times are ISO 8601."""

    path: str
    subject: str
    serial: str
    not_before: str
    not_after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a file is and contains.

    Attributes:
        kind: as in a manifest: `apkovl`, `seed`, `image`...
        what: the same for people.
        release: what the node would say of itself, from /etc/nodebake-release.
        system: the operating system on an image, as it calls itself.
        files: what is the node's own and what nodes share, by place.
        certificates: the first to expire first.
    """

    kind: str
    what: str
    release: Mapping[str, str] = field(default_factory=dict)
    system: str = ""
    files: Sequence[File] = ()
    certificates: Sequence[Certificate] = ()

    @property
    def programs(self) -> tuple[File, ...]:
        """The large executables: what was baked in from elsewhere."""
        return tuple(one for one in self.files if one.mode & 0o111 and not one.content)

    @property
    def beside(self) -> Mapping[str, str]:
        """The digests of what lies beside an overlay on its boot medium, by place on the node."""
        contents = {one.path: one.content for one in self.files}
        lines = contents.get(PROGRAMS, b"").decode(errors="replace").splitlines()
        told = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
        return {path: digest for path, digest in told.items() if path not in contents}

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold of it; no file's content, for some are secrets."""
        return {
            "kind": self.kind,
            "what": self.what,
            "system": self.system,
            "release": dict(self.release),
            "certificates": [
                {name: getattr(one, name) for name in Certificate.__slots__} for one in self.certificates
            ],
            "files": [
                {"path": one.path, "mode": f"{one.mode:04o}", "size": one.size, "sha256": one.sha256}
                for one in self.files
            ],
            "beside": dict(self.beside),
        }


def found(kind: str, what: str, files: Iterable[File], *, system: str = "") -> Finding:
    """Return the finding of a file with `files` in it."""
    ordered = sorted({one.path: one for one in files}.values(), key=lambda one: one.path)
    certificates = sorted(
        (each for one in ordered for each in _certificates(one)), key=lambda one: (one.not_after, one.path)
    )
    return Finding(
        kind=kind,
        what=what,
        release=_release({one.path: one.content for one in ordered}),
        system=system,
        files=ordered,
        certificates=certificates,
    )


def _release(contents: Mapping[str, bytes]) -> dict[str, str]:
    """Return what the release file says; of the first versions' nodes, which have none, their name."""
    told = dict(_LINE.findall(contents.get(RELEASE, b"").decode(errors="replace")))
    if "NODE" not in told and _HOST in contents:
        told["NODE"] = contents[_HOST].decode(errors="replace").strip()
    return told


def _certificates(file: File) -> Iterator[Certificate]:
    for pem in _PEM.findall(file.content):
        try:
            facts = describe(pem)
        except ValueError:  # an example in somebody's documentation
            continue
        yield Certificate(
            path=file.path,
            subject=facts.subject,
            serial=facts.serial,
            not_before=facts.not_before.isoformat(),
            not_after=facts.not_after.isoformat(),
        )
