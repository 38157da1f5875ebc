"""A signed statement in a DSSE envelope, one line of JSON.

Source: https://github.com/secure-systems-lab/dsse/blob/master/envelope.md and protocol.md
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from nodebake.errors import InputError
from nodebake.pki import key_id, public_half, sign, signed

PROVENANCE = "provenance.intoto.jsonl"
"""Its file in a build, beside the manifest; not in the manifest, whose digest it holds."""
_TYPE = "application/vnd.in-toto+json"


def sealed(statement: dict[str, Any], key: bytes) -> bytes:
    """Return the envelope of `statement`, signed with a private key, PEM.

    Raises:
        UsageError: it is no private key that signs here.
    """
    payload = json.dumps(statement, sort_keys=True).encode()
    signature = {"keyid": key_id(public_half(key)), "sig": _base64(sign(key, _authenticated(payload)))}
    return _text({"payload": _base64(payload), "payloadType": _TYPE, "signatures": [signature]})


def opened(text: bytes, public: bytes) -> dict[str, Any]:
    """Return the statement in an envelope that the owner of a public key, PEM, signed.

    Raises:
        UsageError: it is no public key that signatures here are checked with.
        InputError: it is no such envelope, another signed it, or it was altered.
    """
    try:
        document = json.loads(text)
        payload, (signature,) = _bytes(document["payload"]), document["signatures"]
        owner, sign_ = signature["keyid"], _bytes(signature["sig"])
        # Whatever does not change the meaning would not break the signature either.
        whole = text == _text(document) and document["payloadType"] == _TYPE and len(signature) == 2  # noqa: PLR2004 - keyid, sig
    except (ValueError, KeyError, TypeError) as error:
        raise _altered(f"is not a signed statement: {error}") from error
    if owner != key_id(public):
        raise InputError(
            f"{PROVENANCE}: was signed with the key {owner[:16]}, and not with {key_id(public)[:16]}",
            hint="name the signer's public key with --key; after sign --new-key that is another one",
        )
    if not whole or not signed(public, _authenticated(payload), sign_):
        raise _altered("the signature does not fit: it, or what was signed, was altered")
    statement: dict[str, Any] = json.loads(payload)
    return statement


def _altered(what: str) -> InputError:
    return InputError(
        f"{PROVENANCE}: {what}", hint="do not use what lies beside it: get it again from who built it"
    )


def _authenticated(payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(_TYPE), _TYPE.encode(), len(payload), payload)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    """Return what was encoded, if nothing else has the same meaning."""
    content = base64.b64decode(text, validate=True)
    if _base64(content) != text:
        raise binascii.Error("not in the one form that base64 has for it")
    return content


def _text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode() + b"\n"
