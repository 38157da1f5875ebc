"""The shape of a profile's section `pki`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from nodebake.profile.section import Section
from nodebake.profile.types import (
    Country,
    Duration,
    FileName,
    SubjectPart,
    Variable,
)


class Subject(Section):
    """Parts of every certificate's subject besides its common name."""

    organization: SubjectPart | None = None
    """O."""
    organizational_unit: SubjectPart | None = None
    """OU."""
    country: Country | None = None
    """C, two letters."""
    state: SubjectPart | None = None
    """ST."""
    locality: SubjectPart | None = None
    """L."""


class Passphrase(Section):
    """Where the pass phrase of the authority's key comes from: exactly one of the three."""

    prompt: Literal[True] | None = None
    """Ask on the terminal."""
    file: FileName | None = None
    """First line of this file, relative to the profile."""
    env: Variable | None = None
    """This environment variable."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if [self.prompt, self.file, self.env].count(None) != 2:  # noqa: PLR2004 - two of three are absent
            raise ValueError("a pass phrase has one source; set exactly one of prompt, file and env")
        return self


class Authority(Section):
    """The cluster's certificate authority: minted in the vault, or brought along."""

    common_name: SubjectPart | None = None
    """Default: `<cluster> etcd CA`."""
    lifetime: Duration = "10y"
    """How long a minted authority is valid."""
    certificate: FileName | None = None
    """PEM file of your own authority or intermediate, relative to the profile."""
    key: FileName | None = None
    """PEM file of its key."""
    chain: FileName | None = None
    """PEM file with the certificates above an intermediate, up to the root."""
    passphrase: Passphrase | None = None
    """Keep the authority's key encrypted."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            absent = "key" if self.key is None else "certificate"
            raise ValueError(f"an authority of your own needs both certificate and key; add {absent}")
        if self.chain is not None and self.certificate is None:
            raise ValueError(
                "a chain belongs to an authority of your own; add certificate and key, or remove chain"
            )
        return self


class Pki(Section):
    """Keys and certificates."""

    algorithm: Literal["ecdsa-p256", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519"] = "ecdsa-p256"
    """Kind of every key."""
    authority: Authority = Authority()
    """The certificate authority."""
    leaf_lifetime: Duration = "5y"
    """How long a node's certificate is valid."""
    backdate: Duration = "7d"
    """How far before its making a certificate begins to be valid: nodes boot with slow clocks."""
    subject: Subject = Subject()
    """Parts of every subject."""
