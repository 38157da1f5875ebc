"""The checks on an authority that somebody brings along: each says what is wrong and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from nodebake.errors import UsageError, about
from nodebake.pki.keys import name_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_REFUSED_BY_GO = (hashes.MD5, hashes.SHA1)  # crypto/x509 since Go 1.18


def read(pem: bytes, what: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM bundle.

    Raises:
        UsageError: there is none, or one is broken.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise UsageError(
            f"{what} is not a certificate in PEM: {error}",
            hint="openssl x509 -in FILE -noout -text says what is wrong with it",
        ) from error


def path(certificate: bytes, chain: bytes) -> tuple[x509.Certificate, ...]:
    """Return the path from an authority to its root, from PEM; the chain may be empty.

    Raises:
        UsageError: a part cannot be read, or see `order`.
    """
    own, *above = read(certificate, "the authority's certificate")
    with about("pki.authority.chain"):
        above += read(chain, "the authority's chain") if chain.strip() else []
        return order(own, above)


def order(first: x509.Certificate, others: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Return the path from `first` to its root; the others may come in any order.

    Raises:
        UsageError: a certificate on the way is missing, one has nothing to do with it, or one has a
            signature that Go's crypto/x509 refuses.
    """
    path = [first]
    left = [other for other in dict.fromkeys(others) if other != first]
    while not _is_root(path[-1]):
        _check_hash(path[-1])
        above = next((other for other in left if signed_by(path[-1], other)), None)
        if above is None:
            raise UsageError(
                f"the authority's chain does not lead on from {name(path[-1])}: "
                f"the certificate of its issuer, {path[-1].issuer.rfc4514_string()}, is missing",
                hint="put every certificate above it, up to the self-signed root, into pki.authority.chain",
            )
        left.remove(above)
        path.append(above)
    if left:
        raise UsageError(
            f"the authority's chain has a certificate that is not above it: {name(left[0])}",
            hint="leave only the certificates from the authority up to its root in pki.authority.chain",
        )
    return tuple(path)


def same_certificates(certificate: bytes, chain: bytes, *, kept: bytes) -> bool:
    """Say whether a PEM certificate, and a chain that may be empty, are among `kept`, in first place it.

    Raises:
        UsageError: one of them cannot be read.
    """
    own, *above = read(certificate, "the authority's certificate")
    above += read(chain, "the authority's chain") if chain.strip() else []
    first, *others = read(kept, "the vault's copy of the authority")
    return own == first and set(above) <= {first, *others}


def check(path: Sequence[x509.Certificate], now: dt.datetime) -> None:
    """Check every certificate from the authority to its root.

    Raises:
        UsageError: one is not an authority's, may not sign, is out of its time, or allows no authority
            below it.
    """
    for below, certificate in enumerate(path):
        name_of(certificate.public_key())
        _check_may_sign(certificate, below)
        check_time(certificate, now)


def check_time(certificate: x509.Certificate, now: dt.datetime) -> None:
    """Check that a certificate of an authority is valid at `now`.

    Raises:
        UsageError: it has expired, or is not yet valid.
    """
    if now > certificate.not_valid_after_utc:
        raise UsageError(
            f"the authority's certificate {name(certificate)} has expired "
            f"on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            hint="every node needs certificates of a new authority: move the vault away (never delete it), "
            "and build and install all nodes afresh",
        )
    if now < certificate.not_valid_before_utc:
        raise UsageError(
            f"the authority's certificate {name(certificate)} is not valid "
            f"before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            hint=f"it is {now:%Y-%m-%d %H:%M} UTC by this machine's clock; set the clock, or wait",
        )


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether `issuer` has issued `certificate`: names and signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """Return a certificate's extension of one kind, or None."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def name(certificate: x509.Certificate) -> str:
    """Return how a message calls a certificate."""
    return certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:x}"


def _is_root(certificate: x509.Certificate) -> bool:
    """Nobody checks the signature of a root that is trusted: an old one may well have SHA-1."""
    if certificate.issuer != certificate.subject:
        return False
    old = isinstance(certificate.signature_hash_algorithm, _REFUSED_BY_GO)
    return old or signed_by(certificate, certificate)


def _check_hash(certificate: x509.Certificate) -> None:
    used = certificate.signature_hash_algorithm
    if isinstance(used, _REFUSED_BY_GO):
        raise UsageError(
            f"{name(certificate)} is signed with {used.name}, which etcd refuses",
            hint="have it signed again with SHA-256",
        )


def _check_may_sign(certificate: x509.Certificate, below: int) -> None:
    constraints = extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise UsageError(
            f"{name(certificate)} is not an authority's certificate (no basic constraint CA:TRUE)",
            hint="name the certificate of an authority or intermediate, not of a server",
        )
    usage = extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise UsageError(
            f"{name(certificate)} may not sign certificates (its key usage lacks keyCertSign)",
            hint="have it issued again with key usage keyCertSign and cRLSign",
        )
    if constraints.path_length is not None and constraints.path_length < below:
        raise UsageError(
            f"{name(certificate)} allows {constraints.path_length} authorities below it, here are {below}",
            hint="use an authority nearer to the root, or have it issued again with a longer path",
        )
