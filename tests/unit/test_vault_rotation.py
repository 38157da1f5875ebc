"""A change of the authority: three steps that a vault remembers, and what it holds at each."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.errors import SafetyError, UsageError
from nodebake.pki import Authority, LeafRequest, Terms, is_encrypted
from nodebake.vault.identity import now
from tests.need import need
from tests.unit import test_vault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nodebake.vault import Vault

NODES = ("x-1", "x-2")
LEAVES = [LeafRequest(holder=node, name="client", common_name=node, usages=("client",)) for node in NODES]


@contextmanager
def opened(directory: Path, **authority: object) -> Iterator[Vault]:
    """Open a vault as every verb does."""
    with test_vault.opened(directory, environ={"PHRASE": "a pass phrase"}, authority=authority) as vault:
        vault.leaves(LEAVES)
        yield vault


def verified(directory: Path, trust: bytes, leaf: bytes) -> bool:
    """Ask openssl whether a leaf is one of what is trusted."""
    (directory / "trust.pem").write_bytes(trust)
    (directory / "leaf.pem").write_bytes(leaf)
    openssl = need("openssl", package="openssl")
    argv = [openssl, "verify", "-CAfile", f"{directory}/trust.pem", f"{directory}/leaf.pem"]
    return run(argv, accept=(0, 2)).strip().endswith(b"OK")


def test_at_every_step_each_side_trusts_the_other(tmp_path: Path) -> None:
    """Who has a step works with who has not had it yet: openssl verifies old and new leaves both ways."""
    seen = []
    with opened(tmp_path / "v") as vault:
        seen.append((vault.trust, vault.leaves(LEAVES)["x-1", "client"].certificate))
    for _ in range(3):
        with opened(tmp_path / "v") as vault:
            vault.authorities.advance(NODES)
            vault.authorities.confirm(NODES)
        with opened(tmp_path / "v") as vault:
            seen.append((vault.trust, vault.leaves(LEAVES)["x-1", "client"].certificate))
    for before, after in pairwise(seen):
        assert verified(tmp_path, before[0], after[1])
        assert verified(tmp_path, after[0], before[1])
    assert not verified(tmp_path, seen[-1][0], seen[0][1])


def test_the_former_authority_is_forgotten_at_the_end(tmp_path: Path) -> None:
    """Its key is gone with it, and the next change makes a third one."""
    for step in ("trust", "issue", "drop", "", "trust"):
        with opened(tmp_path / "v") as vault:
            vault.authorities.advance(NODES)
            vault.authorities.confirm(NODES)
            assert vault.authorities.rotation.step == step
    names = {path.name for path in (tmp_path / "v").glob("ca*")}
    assert names == {"ca-2.key", "ca-2.crt", "ca-3.key", "ca-3.crt"}


def test_no_step_comes_before_every_node_has_the_last(tmp_path: Path) -> None:
    """It names those that are missing, and nothing changes."""
    with opened(tmp_path / "v") as vault:
        vault.authorities.advance(NODES)
        vault.authorities.confirm(["x-2"])
        before = {path.name: path.read_bytes() for path in (tmp_path / "v").iterdir()}
        with pytest.raises(SafetyError, match="not known to be on x-1"):
            vault.authorities.advance(NODES)
        assert {path.name: path.read_bytes() for path in (tmp_path / "v").iterdir()} == before


def test_what_a_dying_change_left_behind_is_swept(tmp_path: Path) -> None:
    """A coming authority that nobody was told of goes; what the user put beside it stays."""
    with opened(tmp_path / "v"):
        pass
    for name in ("ca-2.key", "ca-2.crt", "ca.crt.orig"):
        (tmp_path / "v" / name).touch(mode=0o600)
    with opened(tmp_path / "v") as vault:
        assert vault.authorities.other is None
    assert {path.name for path in (tmp_path / "v").glob("ca*")} == {"ca.key", "ca.crt", "ca.crt.orig"}


def test_the_new_authority_is_encrypted_as_the_first(tmp_path: Path) -> None:
    """The pass phrase of the profile is for both keys."""
    phrase = {"passphrase": {"env": "PHRASE"}}
    with opened(tmp_path / "v", **phrase) as vault:
        vault.authorities.advance(NODES)
    assert is_encrypted((tmp_path / "v/ca-2.key").read_bytes())
    with opened(tmp_path / "v", **phrase) as vault:
        assert vault.authorities.other is not None


def test_a_former_authority_may_expire_meanwhile(tmp_path: Path) -> None:
    """A change that is begun late can be ended: the former one issues nothing any more."""
    with opened(tmp_path / "v") as vault:
        vault.authorities.advance(NODES)
        vault.authorities.confirm(NODES)
        vault.authorities.advance(NODES)
    expired = Authority.mint("old", Terms(lifetime=-3600), now=now())
    (tmp_path / "v/ca.crt").write_bytes(expired.certificate)
    (tmp_path / "v/ca.key").write_bytes(expired.key_pem(None))
    with opened(tmp_path / "v") as vault:
        vault.authorities.confirm(NODES)
        vault.authorities.advance(NODES)
        assert vault.authorities.rotation.step == "drop"


def test_an_authority_of_ones_own_is_not_replaced_by_a_minted_one(tmp_path: Path) -> None:
    """It is the user's decision who signs: refused, with nothing changed."""
    own = Authority.mint("ours", Terms(lifetime=86400), now=now())
    (tmp_path / "own.crt").write_bytes(own.certificate)
    (tmp_path / "own.key").write_bytes(own.key_pem(None))
    with (
        opened(tmp_path / "v", certificate="own.crt", key="own.key") as vault,
        pytest.raises(SafetyError, match="brought along"),
    ):
        vault.authorities.advance(NODES)
    assert not (tmp_path / "v/rotation.json").exists()


@pytest.mark.parametrize("text", ["{", "{}", '{"schema": 9}', '{"schema": 1, "step": "fly", "have": []}'])
def test_a_spoilt_memory_is_refused(tmp_path: Path, text: str) -> None:
    """The file is named; nothing is guessed."""
    with opened(tmp_path / "v"):
        pass
    (tmp_path / "v/rotation.json").write_text(text)
    (tmp_path / "v/rotation.json").chmod(0o600)
    with pytest.raises(UsageError, match=r"rotation\.json is damaged"), opened(tmp_path / "v"):
        pass
