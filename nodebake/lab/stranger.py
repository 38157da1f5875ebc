"""Somebody with a certificate that is the operator's in everything but who signed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.pki import Authority, LeafRequest, Terms, describe

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a client shows.

    Attributes:
        certificate: PEM file.
        key: PEM file.
    """

    certificate: Path
    key: Path


def stranger(*, operator: Path, work: Path) -> Identity:
    """Return a client that an authority of the same name, but with another key, has vouched for.

    Args:
        operator: directory of the operator's files, whose authority's name and times of validity it takes.
        work: directory for its own files.
    """
    ours = describe((operator / "admin.crt").read_bytes())
    begin, lifetime = ours.not_before, int((ours.not_after - ours.not_before).total_seconds())
    terms = Terms(lifetime=lifetime, backdate=0)
    other = Authority.namesake((operator / "ca.crt").read_bytes(), terms, now=begin)
    request = LeafRequest(holder="stranger", name="client", common_name="admin", usages=("client",))
    leaf = other.issue(request, terms, now=begin)
    found = Identity(certificate=work / "stranger.crt", key=work / "stranger.key")
    found.certificate.write_bytes(leaf.certificate)
    found.key.write_bytes(leaf.key)
    return found
