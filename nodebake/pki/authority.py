"""A certificate authority: minted here, or brought along as a root or an intermediate."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from nodebake.errors import UsageError, about
from nodebake.pki import chain
from nodebake.pki.certificate import (
    Leaf,
    authority_extensions,
    leaf_extensions,
    public_of,
    subject_name,
    subject_of,
    to_pem,
)
from nodebake.pki.constraints import check_permitted
from nodebake.pki.keys import (
    ALGORITHMS,
    PrivateKey,
    digest_for,
    dump_key,
    load_authority_key,
    load_key,
    new_key,
    spki,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from nodebake.pki.certificate import LeafRequest, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A key that signs leaves, and the certificates from its own up to the root.

    Attributes:
        path: its certificate, those of the intermediates above it, the root's; one if it is the root.
        key: its private key; leaves the process only through `key_pem`.
    """

    path: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)

    @classmethod
    def mint(cls, common_name: str, terms: Terms, *, now: dt.datetime) -> Authority:
        """Return a new self-signed root that may sign leaves only (path length 0)."""
        return cls._root(subject_name(common_name, terms.subject), terms, now)

    @classmethod
    def namesake(cls, other: bytes, terms: Terms, *, now: dt.datetime) -> Authority:
        """Return a root of the name that the first certificate in `other`, PEM, has; nobody may trust it."""
        return cls._root(x509.load_pem_x509_certificate(other).subject, terms, now)

    @classmethod
    def _root(cls, name: x509.Name, terms: Terms, now: dt.datetime) -> Authority:
        key = ALGORITHMS[terms.algorithm]()
        begin, end = terms.validity(now)
        builder = _builder(name, begin, end).issuer_name(name).public_key(key.public_key())
        for extension, critical in authority_extensions(key.public_key()):
            builder = builder.add_extension(extension, critical)
        return cls(path=(builder.sign(key, digest_for(key)),), key=key)

    @classmethod
    def load(
        cls,
        certificate: bytes,
        key: bytes,
        *,
        chain_pem: bytes = b"",
        passphrase: bytes | None = None,
        now: dt.datetime,
    ) -> Authority:
        """Return an authority from PEM.

        Args:
            certificate: the authority's own; those above it may follow.
            key: its private key, PKCS#8 or traditional, plain or encrypted.
            chain_pem: the certificates above it up to the root, in any order.
            passphrase: of the key, if that is encrypted.
            now: the time at which it must be valid.

        Raises:
            UsageError: it cannot be read, cannot sign, is out of its time, or its parts do not fit.
        """
        with about("pki.authority.certificate"):
            path = chain.path(certificate, chain_pem)
            chain.check(path, now)
        with about("pki.authority.key"):
            private = load_authority_key(key, passphrase)
            if spki(public_of(path[0])) != spki(private.public_key()):
                raise UsageError(
                    f"the authority's key does not belong to its certificate {chain.name(path[0])}",
                    hint="name the key that the certificate was made for",
                )
        return cls(path=path, key=private)

    @property
    def certificate(self) -> bytes:
        """The authority's own certificate, PEM."""
        return to_pem(self.path[0])

    @property
    def chain(self) -> bytes:
        """The certificates above the authority up to the root, PEM; empty if it is the root."""
        return to_pem(*self.path[1:])

    @property
    def trust(self) -> bytes:
        """What the nodes trust, PEM: the authority alone.

        With the root of a brought intermediate beside it, whoever holds a certificate of any other
        intermediate of that root would be let in. Go and curl take an intermediate for an anchor; openssl
        does with `-partial_chain`.
        """
        return self.certificate

    @property
    def not_after(self) -> dt.datetime:
        """The last second in which a leaf can be valid."""
        return min(certificate.not_valid_after_utc for certificate in self.path)

    @property
    def not_before(self) -> dt.datetime:
        """The first second in which a leaf can be valid."""
        return max(certificate.not_valid_before_utc for certificate in self.path)

    def key_pem(self, passphrase: bytes | None) -> bytes:
        """Return the authority's key as PKCS#8, encrypted when there is a pass phrase."""
        return dump_key(self.key, passphrase)

    def issue(
        self, request: LeafRequest, terms: Terms, *, now: dt.datetime, key: bytes | None = None
    ) -> Leaf:
        """Return a certificate for `request`, never valid for longer than the authority.

        Args:
            request: what it is for.
            terms: validity and subject; the algorithm is for a new key only.
            now: the present.
            key: the leaf's key, PEM; without it a new one is made.

        Raises:
            UsageError: a name constraint of the authority forbids one of its names.
        """
        with about("pki.authority.certificate"):
            check_permitted(self.path, request)
        key = key or new_key(terms.algorithm)
        public = load_key(key).public_key()
        begin, end = terms.validity(now)
        builder = _builder(subject_of(request, terms), begin, min(end, self.not_after))
        builder = builder.issuer_name(self.path[0].subject).public_key(public)
        for extension, critical in leaf_extensions(request, public):
            builder = builder.add_extension(extension, critical)
        builder = builder.add_extension(self._key_identifier(), critical=False)
        return self.leaf(to_pem(builder.sign(self.key, digest_for(self.key))), key)

    def leaf(self, certificate: bytes, key: bytes) -> Leaf:
        """Return a leaf from its own certificate and key, with the intermediates appended."""
        return Leaf(certificate=certificate + to_pem(*self.path[:-1]), key=key)

    def objection(
        self, certificate: bytes, request: LeafRequest, terms: Terms, *, key: bytes, now: dt.datetime
    ) -> str:
        """Say why a certificate cannot be used again for `request`, or nothing if it can.

        Returns:
            `other authority`, `changed` (it says something else, or is for another key), `expired`, or "".

        Raises:
            ValueError: the certificate or the key is broken.
        """
        found = x509.load_pem_x509_certificate(certificate)
        extensions = _comparable((each.value, each.critical) for each in found.extensions)
        mine = (self._key_identifier(), False)
        # The key identifier is a hash of the key; checking signatures would cost most of a second build.
        if mine not in extensions or found.issuer != self.path[0].subject:
            return "other authority"
        wanted = leaf_extensions(request, load_key(key).public_key())
        if extensions != _comparable([*wanted, mine]):
            return "changed"
        if found.subject != subject_of(request, terms):
            return "changed"
        return "expired" if now > found.not_valid_after_utc else ""

    def revocations(self, revoked: Mapping[str, int], *, now: dt.datetime) -> bytes:
        """Return a revocation list in DER: etcd from 3.6 on reads no PEM.

        It is valid for as long as the authority: etcd looks at nothing but the serials, and a list that
        ended would help nobody.

        Args:
            revoked: serials, hexadecimal, and when each was revoked, seconds since 1970.
            now: the present.
        """
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.path[0].subject)
        builder = builder.last_update(now.replace(microsecond=0)).next_update(self.not_after)
        for serial, moment in sorted(revoked.items()):
            builder = builder.add_revoked_certificate(_revoked(serial, moment))
        builder = builder.add_extension(self._key_identifier(), critical=False)
        builder = builder.add_extension(x509.CRLNumber(len(revoked) + 1), critical=False)
        return builder.sign(self.key, digest_for(self.key)).public_bytes(Encoding.DER)

    def lists(self, revocations: bytes, revoked: Collection[str]) -> bool:
        """Say whether a revocation list in DER is this authority's, and has just these serials.

        Raises:
            ValueError: it is not a revocation list.
        """
        found = x509.load_der_x509_crl(revocations)
        own = any(one.value == self._key_identifier() for one in found.extensions)
        return own and {f"{one.serial_number:x}" for one in found} == set(revoked)

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        own = chain.extension(self.path[0], x509.SubjectKeyIdentifier)
        if own is None:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _revoked(serial: str, moment: int) -> x509.RevokedCertificate:
    when = dt.datetime.fromtimestamp(moment, dt.UTC)
    return x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(when).build()


def _comparable(extensions: Iterable[tuple[x509.ExtensionType, bool]]) -> set[object]:
    """Return extensions so that neither their order nor that of the alternative names matters."""
    return {
        (frozenset(value) if isinstance(value, x509.SubjectAlternativeName) else value, critical)
        for value, critical in extensions
    }


def _builder(subject: x509.Name, begin: dt.datetime, end: dt.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
