"""Authorities, leaves and host keys: PEM bytes in memory. The owner of `cryptography`; knows no paths."""

from nodebake.pki.authority import Authority
from nodebake.pki.certificate import (
    USER,
    AuthorityRequest,
    Facts,
    Leaf,
    LeafRequest,
    Subject,
    Terms,
    Usage,
    describe,
    same_key,
    user,
)
from nodebake.pki.chain import same_certificates
from nodebake.pki.keys import ALGORITHMS, Algorithm, HostKey, is_encrypted, new_host_key, new_key
from nodebake.pki.signing import key_id, public_half, sign, signed

__all__ = [
    "ALGORITHMS",
    "USER",
    "Algorithm",
    "Authority",
    "AuthorityRequest",
    "Facts",
    "HostKey",
    "Leaf",
    "LeafRequest",
    "Subject",
    "Terms",
    "Usage",
    "describe",
    "is_encrypted",
    "key_id",
    "new_host_key",
    "new_key",
    "public_half",
    "same_certificates",
    "same_key",
    "sign",
    "signed",
    "user",
]
