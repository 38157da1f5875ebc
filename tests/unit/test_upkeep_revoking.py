"""Who is locked out, who gets a name of their own, and what openssl says about the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodebake import command, pipeline, upkeep
from nodebake.errors import UsageError
from nodebake.pki import same_key
from nodebake.progress import Silent
from tests.need import need
from tests.unit.inputs import options
from tests.unit.test_upkeep_renewal import files

if TYPE_CHECKING:
    from pathlib import Path

CRL = "etc/etcd/pki/crl.der"


def revoke(directory: Path, **words: str) -> upkeep.Revoked:
    """Revoke as `certs.revoke` does."""
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    wanted = upkeep.Revocation(**words)  # type: ignore[arg-type]  # names and empty ones
    return upkeep.revoke(plan, options(directory), wanted, progress=Silent(), ask=None)


def listed(content: bytes) -> set[str]:
    """Return the serials in a revocation list, as openssl reads it."""
    openssl = need("openssl", package="openssl")
    text = command.run([openssl, "crl", "-inform", "DER", "-noout", "-text"], stdin=content).decode()
    lines = (line.strip().split() for line in text.splitlines())
    return {words[2].lower().lstrip("0") for words in lines if words[:2] == ["Serial", "Number:"]}


def test_the_list_names_what_was_revoked_and_goes_to_every_member(built: Path) -> None:
    """One archive per member with nothing but the list; clients and etcdctl alone need none."""
    done = revoke(built, cn="root")
    assert set(done.archives) == {"x-1", "x-2", "x-3"}
    for name in done.archives:
        found = files(built / "out" / done.archives[name].path)
        assert set(found) == {CRL}
        assert listed(found[CRL]) == {row.facts.serial for row in done.rows}


def test_openssl_refuses_the_revoked_certificate(built: Path) -> None:
    """With the list, the old operator's certificate is revoked and the new one is fine."""
    old = (built / "out/operator/admin.pem").read_bytes()
    done = revoke(built, cn="root")
    (built / "crl.der").write_bytes(files(built / "out" / done.archives["x-1"].path)[CRL])
    openssl = need("openssl", package="openssl")
    pem = command.run([openssl, "crl", "-inform", "DER", "-in", built / "crl.der"])
    (built / "crl.pem").write_bytes(pem)
    argv = [openssl, "verify", "-crl_check", "-CAfile", f"{built}/out/operator/ca.crt"]
    argv += ["-CRLfile", f"{built}/crl.pem"]
    (built / "old.crt").write_bytes(old)
    command.run([*argv, f"{built}/out/operator/admin.pem"])
    command.run([*argv, f"{built}/old.crt"], accept=(2,))


def test_a_revoked_operator_gets_a_new_key(built: Path) -> None:
    """The operator of every build is issued again at once; the rows say why."""
    before = (built / "out/operator/admin.pem").read_bytes()
    revoke(built, cn="root")
    assert not same_key((built / "out/operator/admin.pem").read_bytes(), before)
    plan = pipeline.resolve(str(built / "edge.yaml"))
    rows, _ = upkeep.certificates(plan, options(built), live=False)
    states = {row.state for row in rows if row.holder == "operator"}
    assert states == {"current", "revoked"}


def test_a_revoked_node_gets_its_new_certificates_with_the_list(built: Path) -> None:
    """It would be locked out otherwise; its keys are new, too."""
    done = revoke(built, node="x-2")
    found = files(built / "out" / done.archives["x-2"].path)
    assert {CRL, "etc/etcd/pki/peer.crt", "etc/etcd/pki/peer.key"} <= set(found)
    assert set(files(built / "out" / done.archives["x-1"].path)) == {CRL}


def test_artefacts_have_the_list(built: Path) -> None:
    """A build has the list of its time, and without a change it is the same bytes."""
    done = revoke(built, cn="root")
    plan = pipeline.resolve(str(built / "edge.yaml"))
    seen = []
    for name in ("one", "two"):
        pipeline.build(plan, options=options(built, out=built / name), progress=Silent(), ask=None)
        root = built / f"root-{name}"
        root.mkdir()
        command.run(["tar", "-C", root, "--zstd", "-xf", built / name / "x-1/x-1.rootfs.tar.zst"])
        seen.append((root / CRL).read_bytes())
    assert seen[0] == seen[1]
    assert listed(seen[0]) == {row.facts.serial for row in done.rows}


def test_an_operator_has_a_name_and_keeps_it(built: Path) -> None:
    """The certificate's common name is the operator's; later builds write it, until it is revoked."""
    plan = pipeline.resolve(str(built / "edge.yaml"))
    assert upkeep.add_operator(plan, options(built), "ada@desk", ask=None) == "operator/ada@desk.pem"
    for _ in range(2):
        text = command.run(
            ["openssl", "x509", "-in", built / "out/operator/ada@desk.pem", "-noout", "-subject"]
        )
        assert text.decode().strip().endswith("CN = ada@desk")
        pipeline.build(plan, options=options(built), progress=Silent(), ask=None)
    revoke(built, cn="ada@desk")
    assert not (built / "out/operator/ada@desk.pem").exists()


@pytest.mark.parametrize("name", ["", "root", "admin", "ca", "a/b", "../x", "-x", "x" * 65])
def test_a_name_that_cannot_be_one_is_refused(built: Path, name: str) -> None:
    """Names become files and etcd's users; some are taken."""
    plan = pipeline.resolve(str(built / "edge.yaml"))
    with pytest.raises(UsageError, match="cannot be an operator's name"):
        upkeep.add_operator(plan, options(built), name, ask=None)


def test_what_was_never_issued_cannot_be_revoked(built: Path) -> None:
    """A slip in a name changes nothing."""
    before = (built / "vault/ledger.json").read_bytes()
    with pytest.raises(UsageError, match="nothing was ever issued to operator user eve"):
        revoke(built, cn="eve")
    assert (built / "vault/ledger.json").read_bytes() == before
