"""Private keys: the kinds we make, the kinds we accept, and how they are written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from nodebake.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Algorithm = Literal["ecdsa-p256", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519"]
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

ALGORITHMS: Mapping[Algorithm, Callable[[], PrivateKey]] = {
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa-4096": lambda: rsa.generate_private_key(65537, 4096),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
_GO_CURVES = {"secp256r1": "p256", "secp384r1": "p384", "secp521r1": "p521"}
_SMALLEST_RSA = 2048  # bits; NIST SP 800-57


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """A machine's Ed25519 SSH host key.

    Attributes:
        private: an OpenSSH private key file, as `ssh_host_ed25519_key` holds it.
        public: `ssh-ed25519 AAAA...`, without comment and newline.
    """

    private: bytes = field(repr=False)
    public: bytes


def new_host_key() -> HostKey:
    """Return a fresh host key."""
    key = ed25519.Ed25519PrivateKey.generate()
    return HostKey(
        private=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        public=key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    )


def new_key(algorithm: Algorithm) -> bytes:
    """Return a fresh private key, PKCS#8 in PEM, not encrypted."""
    return dump_key(ALGORITHMS[algorithm]())


def dump_key(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """Return `key` as PKCS#8 in PEM, encrypted when there is a pass phrase."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def load_key(pem: bytes) -> PrivateKey:
    """Return one of our own leaf keys; it was checked when it was made, so RSA's slow check is left out."""
    return _ours(load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True))


def load_authority_key(pem: bytes, passphrase: bytes | None) -> PrivateKey:
    """Return an authority's key; a pass phrase that a plain key does not need is ignored.

    Raises:
        UsageError: it cannot be read, is encrypted and the pass phrase is missing or wrong, or is of a
            kind that etcd (Go's crypto/tls) does not work with.
    """
    encrypted = is_encrypted(pem)
    if encrypted and not passphrase:
        raise UsageError(
            "the authority's key is encrypted and no pass phrase is given",
            hint="say in the profile where it comes from: pki.authority.passphrase: {prompt: true}",
        )
    try:
        key = load_pem_private_key(pem, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise UsageError(
                "the authority's key cannot be decrypted: wrong pass phrase",
                hint="check pki.authority.passphrase, or the place that it names",
                path="pki.authority.passphrase",
            ) from error
        raise UsageError(
            f"the authority's key is not a private key in PEM: {error}",
            hint="openssl pkey -in FILE -noout says what is wrong with it",
        ) from error
    return _ours(key)


def is_encrypted(pem: bytes) -> bool:
    """Say whether a key is encrypted, as PKCS#8 or in OpenSSL's older form (RFC 1421)."""
    return b"ENCRYPTED" in pem


def name_of(key: object) -> str:
    """Return what a private or public key is: `ecdsa-p256`, `rsa-3072`, `ed25519`...

    Raises:
        UsageError: a kind of key that Go's crypto/tls does not work with.
    """
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        if key.curve.name in _GO_CURVES:
            return f"ecdsa-{_GO_CURVES[key.curve.name]}"
        raise _unusable(f"curve {key.curve.name}")
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        if key.key_size >= _SMALLEST_RSA:
            return f"rsa-{key.key_size}"
        raise _unusable(f"RSA with {key.key_size} bits")
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return "ed25519"
    raise _unusable(type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey"))


def spki(key: PublicKey) -> bytes:
    """Return a public key's SubjectPublicKeyInfo in DER, for comparing."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def digest_for(key: PrivateKey) -> hashes.SHA256 | None:
    """Return the hash to sign with; Ed25519 brings its own."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _ours(key: object) -> PrivateKey:
    name_of(key)
    return cast("PrivateKey", key)


def _unusable(what: str) -> UsageError:
    return UsageError(
        f"the authority's key is of a kind that etcd cannot use: {what}",
        hint="use ECDSA P-256, P-384 or P-521, RSA of 2048 bits or more, or Ed25519",
    )
