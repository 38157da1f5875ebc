"""Signatures over bytes: Ed25519, or ECDSA as RFC 6979 makes it: the same bytes have the same signature."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from nodebake.errors import UsageError

if TYPE_CHECKING:
    from typing import TypeAlias

    _Private: TypeAlias = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    _Public: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


def sign(key: bytes, content: bytes) -> bytes:
    """Return the signature of `content` by the private key `key`, PEM.

    Raises:
        UsageError: it is no private key that signs here.
    """
    private = _private(key)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(content)
    return private.sign(content, ec.ECDSA(SHA256(), deterministic_signing=True))


def signed(public: bytes, content: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is that of `content` by the owner of the public key `public`, PEM.

    Raises:
        UsageError: it is no public key that signatures here are checked with.
    """
    key = _public(public)
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, content)
        else:
            key.verify(signature, content, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def public_half(key: bytes) -> bytes:
    """Return the public key of the private key `key`, both PEM.

    Raises:
        UsageError: it is no private key that signs here.
    """
    return _private(key).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_id(public: bytes) -> str:
    """Return what names a public key, PEM: the SHA-256 of its SubjectPublicKeyInfo, hexadecimal.

    Raises:
        UsageError: it is no public key that signatures here are checked with.
    """
    der = _public(public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def _private(pem: bytes) -> _Private:
    try:
        key = load_pem_private_key(pem, None)
    except TypeError as error:
        hint = "openssl pkey -in FILE -out PLAIN decrypts it; the vault keeps one that needs no file"
        raise UsageError("the signing key is encrypted", hint=hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"the signing key is not a private key in PEM: {error}", hint=_MAKE) from error
    if isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        return key
    raise UsageError("the signing key is neither Ed25519 nor ECDSA", hint=_MAKE)


def _public(pem: bytes) -> _Public:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "it is the vault's signing.pub, or: openssl pkey -in KEY -pubout"
        raise UsageError(f"this is not a public key in PEM: {error}", hint=hint) from error
    if isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
        return key
    raise UsageError("the public key is neither Ed25519 nor ECDSA", hint=_MAKE)


_MAKE = "openssl genpkey -algorithm ed25519 -out FILE makes one"
