"""What a certificate says: requests, terms and names on the way in, facts on the way out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nodebake.pki.keys import Algorithm, PublicKey, name_of

Usage = Literal["server", "client"]
_USAGES: dict[Usage, x509.ObjectIdentifier] = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
}
USER = "user "  # begins the name of an operator's leaf whose common name is the operator's own
_FIRST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LAST = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)  # RFC 5280 4.1.2.5: the last there is


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The parts of a subject besides its common name; None leaves one out."""

    country: str | None = None
    state: str | None = None
    locality: str | None = None
    organization: str | None = None
    organizational_unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms on which certificates are made.

    Attributes:
        subject: parts of every subject.
        algorithm: kind of every new key.
        lifetime: seconds from now to the end of validity.
        backdate: seconds from the start of validity to now.
    """

    subject: Subject = Subject()
    algorithm: Algorithm = "ecdsa-p256"
    lifetime: int
    backdate: int = 7 * 86400

    def validity(self, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
        """Return the first and last second, kept between 1970 and 9999."""
        second = now.replace(microsecond=0)
        begin = max(_FIRST.timestamp(), second.timestamp() - self.backdate)
        end = min(_LAST.timestamp(), second.timestamp() + self.lifetime)
        return dt.datetime.fromtimestamp(begin, dt.UTC), dt.datetime.fromtimestamp(end, dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityRequest:
    """A further authority that somebody needs, with keys of a kind that its users work with."""

    name: str
    algorithm: Algorithm = "ecdsa-p256"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRequest:
    """A certificate that somebody needs.

    Attributes:
        holder: the node's name, or `operator`.
        name: what the holder calls it: `server`, `peer`, `client`...
        common_name: CN of the subject.
        dns: DNS names.
        ips: addresses without prefix length.
        usages: extended key usages.
        authority: who is to issue it; None for the cluster's own.
        organization: O of the subject, in place of all that the terms say of it.
    """

    holder: str
    name: str
    common_name: str
    authority: AuthorityRequest | None = None
    organization: str | None = None
    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    usages: tuple[Usage, ...]


def user(common_name: str) -> LeafRequest:
    """Return the request of an operator whom etcd knows by a name of their own."""
    return LeafRequest(
        holder="operator", name=f"{USER}{common_name}", common_name=common_name, usages=("client",)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A certificate and its key.

    Attributes:
        certificate: PEM; an authority that is an intermediate follows, with those above it but the root.
        key: PEM, PKCS#8, not encrypted.
    """

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a certificate says, for the ledger.

    Attributes:
        serial: hexadecimal, without prefix.
        subject: RFC 4514.
        dns: DNS names in the certificate's order.
        ips: addresses in the certificate's order.
        usages: the extended key usages among ours.
        algorithm: kind of its key.
        not_before: first second of validity.
        not_after: last second of validity.
    """

    serial: str
    subject: str
    dns: tuple[str, ...]
    ips: tuple[str, ...]
    usages: tuple[Usage, ...]
    algorithm: str
    not_before: dt.datetime
    not_after: dt.datetime


def describe(pem: bytes) -> Facts:
    """Return the facts of the first certificate in `pem`.

    Raises:
        ValueError: there is none.
    """
    return facts_of(x509.load_pem_x509_certificate(pem))


def same_key(one: bytes, other: bytes) -> bool:
    """Say whether two certificates, PEM, are for the same key."""
    keys = (x509.load_pem_x509_certificate(pem).public_key() for pem in (one, other))
    return len({key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in keys}) == 1


def facts_of(certificate: x509.Certificate) -> Facts:
    """Return the facts of a certificate."""
    sans: list[x509.GeneralName] = []
    usages: tuple[Usage, ...] = ()
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            sans = list(extension.value)
        elif isinstance(extension.value, x509.ExtendedKeyUsage):
            usages = tuple(usage for usage, oid in _USAGES.items() if oid in extension.value)
    return Facts(
        serial=f"{certificate.serial_number:x}",
        subject=certificate.subject.rfc4514_string(),
        dns=tuple(san.value for san in sans if isinstance(san, x509.DNSName)),
        ips=tuple(str(san.value) for san in sans if isinstance(san, x509.IPAddress)),
        usages=usages,
        algorithm=name_of(certificate.public_key()),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def subject_name(common_name: str, subject: Subject) -> x509.Name:
    """Return the whole subject, from the country down to the common name."""
    parts = [
        (NameOID.COUNTRY_NAME, subject.country),
        (NameOID.STATE_OR_PROVINCE_NAME, subject.state),
        (NameOID.LOCALITY_NAME, subject.locality),
        (NameOID.ORGANIZATION_NAME, subject.organization),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, subject.organizational_unit),
        (NameOID.COMMON_NAME, common_name),
    ]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value is not None])


def subject_of(request: LeafRequest, terms: Terms) -> x509.Name:
    """Return the whole subject of a leaf."""
    own = Subject(organization=request.organization) if request.organization else terms.subject
    return subject_name(request.common_name, own)


def alternative_names(request: LeafRequest) -> tuple[x509.GeneralName, ...]:
    """Return DNS names, then addresses, each once, in the order of the request."""
    names = [x509.DNSName(name) for name in dict.fromkeys(request.dns)]
    addresses = [x509.IPAddress(ip) for ip in dict.fromkeys(ip_address(ip) for ip in request.ips)]
    return (*names, *addresses)


def leaf_extensions(request: LeafRequest, key: PublicKey) -> list[tuple[x509.ExtensionType, bool]]:
    """Return a leaf's extensions that do not depend on its issuer, each with its criticality (RFC 5280)."""
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(signs=True, encrypts=isinstance(key, rsa.RSAPublicKey)), True),
        (x509.ExtendedKeyUsage([oid for usage, oid in _USAGES.items() if usage in request.usages]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
    ]
    if names := alternative_names(request):
        extensions.append((x509.SubjectAlternativeName(names), False))
    return extensions


def authority_extensions(key: PublicKey) -> list[tuple[x509.ExtensionType, bool]]:
    """Return a minted root's extensions, each with its criticality (RFC 5280)."""
    return [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (key_usage(certifies=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
    ]


def key_usage(*, signs: bool = False, encrypts: bool = False, certifies: bool = False) -> x509.KeyUsage:
    """Return a KeyUsage; whoever certifies may sign revocation lists as well."""
    return x509.KeyUsage(
        digital_signature=signs,
        key_encipherment=encrypts,
        key_cert_sign=certifies,
        crl_sign=certifies,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def public_of(certificate: x509.Certificate) -> PublicKey:
    """Return a certificate's public key.

    Raises:
        UsageError: a kind of key that Go's crypto/tls does not work with.
    """
    key = certificate.public_key()
    name_of(key)
    return cast("PublicKey", key)


def to_pem(*certificates: x509.Certificate) -> bytes:
    """Return certificates as one PEM bundle."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
