"""Authorities and secrets for others than etcd: as lasting as everything in a vault, and strangers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.errors import BuildError, UsageError
from nodebake.pki import AuthorityRequest, LeafRequest
from tests.need import need
from tests.unit.test_vault import opened

if TYPE_CHECKING:
    from pathlib import Path


def test_a_further_authority_is_for_ever_and_nobodys_branch(tmp_path: Path) -> None:
    """Its own name and kind of key, in every opening the same; whoever it certifies is a stranger to etcd."""
    wanted = (AuthorityRequest(name="k3s-server"), AuthorityRequest(name="k3s-service", algorithm="rsa-2048"))
    admin = LeafRequest(
        holder="operator",
        name="kubernetes",
        common_name="system:admin",
        organization="system:masters",
        authority=AuthorityRequest(name="k3s-client"),
        usages=("client",),
    )
    told: list[object] = []
    for _ in range(2):
        with opened(tmp_path / "v", subject={"organization": "Example"}) as vault:
            leaf = vault.leaves([admin])["operator", "kubernetes"]
            found = vault.further([*wanted, AuthorityRequest(name="k3s-client")])
            told.append((leaf, found))
            trust = vault.trust
    assert told[0] == told[1]
    assert [*found] == ["k3s-server", "k3s-service", "k3s-client"]
    openssl = need("openssl", package="openssl")
    for name, pair in found.items():
        (tmp_path / f"{name}.crt").write_bytes(pair.certificate)
        (tmp_path / f"{name}.key").write_bytes(pair.key)
    (tmp_path / "leaf.crt").write_bytes(leaf.certificate)
    (tmp_path / "etcd.crt").write_bytes(trust)
    told_by = run([openssl, "x509", "-noout", "-subject", "-issuer", "-in", tmp_path / "leaf.crt"])
    assert told_by == b"subject=O = system:masters, CN = system:admin\nissuer=CN = edge k3s-client CA\n"
    rsa = run([openssl, "pkey", "-noout", "-text", "-in", tmp_path / "k3s-service.key"])
    assert b"2048 bit" in rsa
    run([openssl, "verify", "-CAfile", tmp_path / "k3s-client.crt", tmp_path / "leaf.crt"])
    for other in ("etcd", "k3s-server"):
        with pytest.raises(BuildError, match="unable to get local issuer"):
            run([openssl, "verify", "-CAfile", tmp_path / f"{other}.crt", tmp_path / "leaf.crt"])


@pytest.mark.parametrize("content", ["{", '{"schema": 1, "authorities": {"a": {}}}', '{"schema": 2}'])
def test_damaged_further_authorities_are_refused(tmp_path: Path, content: str) -> None:
    """They are never minted again in silence: whoever holds the old ones would be locked out."""
    with opened(tmp_path / "v") as vault:
        vault.further([AuthorityRequest(name="k3s-server")])
    (tmp_path / "v" / "authorities.json").write_text(content)
    with pytest.raises(UsageError, match=r"authorities\.json"), opened(tmp_path / "v"):
        pass


def test_a_secret_of_the_cluster_is_always_the_same(tmp_path: Path) -> None:
    """One for each purpose, and of every vault another."""
    with opened(tmp_path / "a") as a, opened(tmp_path / "b") as b:
        secrets = [a.secret("one"), a.secret("two"), b.secret("one")]
    with opened(tmp_path / "a") as a:
        assert secrets[:1] == [a.secret("one")]
    assert len(set(secrets)) == 3
    assert {len(secret) for secret in secrets} == {64}
