"""Somebody with a certificate that is the operator's in everything but who signed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.pki import Authority, LeafRequest, Terms, describe

if TYPE_CHECKING:
    from pathlib import Path


def stranger(*, operator: Path, work: Path) -> Path:
    """Return a client, certificate and key, that an authority of the same name but another key vouches for.

    Args:
        operator: directory of the operator's files, whose authority's name and times of validity it takes.
        work: directory for its file.
    """
    ours = describe((operator / "admin.pem").read_bytes())
    begin, lifetime = ours.not_before, int((ours.not_after - ours.not_before).total_seconds())
    terms = Terms(lifetime=lifetime, backdate=0)
    other = Authority.namesake((operator / "ca.crt").read_bytes(), terms, now=begin)
    request = LeafRequest(holder="stranger", name="client", common_name="admin", usages=("client",))
    leaf = other.issue(request, terms, now=begin)
    found = work / "stranger.pem"
    found.write_bytes(leaf.certificate + leaf.key)
    return found
