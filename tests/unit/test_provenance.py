"""Where a build came from, signed: what verifies, and every way in which it does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # it is documented there

from nodebake import command, pipeline, stamp
from nodebake.errors import BuildError, InputError, UsageError
from nodebake.pki import key_id, new_key, public_half
from nodebake.progress import Silent
from nodebake.provenance import PROVENANCE, sign, verify
from nodebake.provenance.envelope import opened, sealed
from nodebake.vault import public_key, signing_key
from tests.need import need
from tests.unit import inputs

if TYPE_CHECKING:
    from nodebake.plan import Plan

REPORT = "lab/report.json"


def plan_of(directory: Path) -> Plan:
    """Return the plan of the profile in `directory`."""
    return pipeline.resolve(str(directory / "edge.yaml"))


def build(directory: Path) -> None:
    """Build the profile in `directory`."""
    pipeline.build(plan_of(directory), options=inputs.options(directory), progress=Silent(), ask=None)


def signed(directory: Path) -> bytes:
    """Sign the build in `directory` with its vault's key, and return the public one."""
    key = signing_key(directory / "vault", cluster="edge")
    sign(plan_of(directory), directory / "out", key)
    return public_half(key)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a signed build, to look at only."""
    directory = tmp_path_factory.mktemp("first")
    inputs.profile(directory, "alpine", "[apkovl]")
    build(directory)
    signed(directory)
    return directory


@pytest.fixture
def place(first: Path, tmp_path: Path) -> Path:
    """Return a directory with a signed build, to change."""
    return Path(shutil.copytree(first, tmp_path / "place"))


def public(directory: Path) -> bytes:
    """Return the public key that lies in the vault."""
    key = public_key(directory / "vault")
    assert key
    return key


def statement(directory: Path) -> dict[str, Any]:
    """Return what was signed."""
    return opened((directory / "out" / PROVENANCE).read_bytes(), public(directory))


def test_another_implementation_accepts_the_envelope(first: Path) -> None:
    """securesystemslib, which in-toto and TUF are built on, finds one good signature."""
    envelope = Envelope.from_dict(json.loads((first / "out" / PROVENANCE).read_text()))
    key = SSlibKey.from_crypto(_loaded(public(first)), key_id(public(first)))
    assert ["application/vnd.in-toto+json"] == [envelope.payload_type]
    assert {key.keyid} == set(envelope.verify([key], threshold=1))


def _loaded(pem: bytes) -> Any:  # noqa: ANN401 - whatever key it is
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - used once

    return load_pem_public_key(pem)


def test_a_statement_says_where_a_build_came_from(first: Path) -> None:
    """Profile, plan, inputs and builder are in it, and every file with its digest."""
    said, plan = statement(first), plan_of(first)
    predicate = said["predicate"]
    assert ("https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1") == (
        said["_type"],
        said["predicateType"],
    )
    definition = predicate["buildDefinition"]
    assert plan.digest() == definition["internalParameters"]["plan"]["sha256"]
    manifest = json.loads((first / "out/manifest.json").read_text())
    assert [one["sha256"] for one in manifest["inputs"]] == [
        one["digest"]["sha256"] for one in definition["resolvedDependencies"]
    ]
    sums = command.run([need("sha256sum", package="coreutils"), first / "edge.yaml"]).decode().split()[0]
    assert sums == definition["externalParameters"]["files"][0]["digest"]["sha256"]
    names = {one["name"] for one in said["subject"]}
    files = {str(path.relative_to(first / "out")) for path in (first / "out").rglob("*") if path.is_file()}
    assert files - {PROVENANCE} == names


def test_a_build_as_it_was_signed_verifies(first: Path) -> None:
    """All files, or one node's: what is counted is what was there to be checked."""
    done = verify(first / "out", public(first))
    assert ("edge", plan_of(first).digest()) == (done.profile, done.plan)
    assert done.files == len(statement(first)["subject"])
    assert verify(first / "out", public(first), node="x-1").files < done.files
    with pytest.raises(UsageError, match=r"no node x-9\n.*x-1, x-2, x-3, y-1"):
        verify(first / "out", public(first), node="x-9")


def test_a_flipped_byte_anywhere_is_named(place: Path) -> None:
    """In every file, at its begin, its middle and its end."""
    out, key = place / "out", public(place)
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for at in {0, len(whole) // 2, len(whole) - 1}:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(InputError, match=path.name):
                verify(out, key)
        path.write_bytes(whole)
    verify(out, key)


def test_a_flipped_byte_in_the_statement_is_noticed_wherever_it_is(first: Path) -> None:
    """No byte of the envelope can change, not even one that means nothing."""
    text, key = (first / "out" / PROVENANCE).read_bytes(), public(first)
    for at in range(0, len(text), 7):
        with pytest.raises(InputError, match=PROVENANCE):
            opened(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :], key)
    with pytest.raises(InputError, match=PROVENANCE):
        opened(text + b"\n", key)


def test_what_is_missing_or_added_is_named(place: Path) -> None:
    """All at once, each by its name."""
    out, key = place / "out", public(place)
    (out / "x-1/x-1.apkovl.tar.gz").unlink()
    (out / "x-2/extra").write_bytes(b"")
    (out / "SHA256SUMS").unlink()
    (out / "SHA256SUMS").symlink_to("manifest.json")
    with pytest.raises(InputError) as caught:
        verify(out, key)
    assert [
        "SHA256SUMS: is missing",
        "x-1/x-1.apkovl.tar.gz: is missing",
        "x-2/extra: was added",
    ] == str(caught.value).splitlines()[:3]


def test_one_nodes_files_are_enough_for_that_node(place: Path) -> None:
    """Who was given one node's files can verify these, and only these."""
    out, key = place / "out", public(place)
    for name in ("x-2", "x-3", "y-1", "operator"):
        shutil.rmtree(out / name)
    verify(out, key, node="x-1")
    (out / "x-1/x-1.cdx.json").unlink()
    with pytest.raises(InputError, match=r"x-1/x-1\.cdx\.json: is missing"):
        verify(out, key, node="x-1")


def test_another_key_is_told_from_a_tampered_statement(first: Path) -> None:
    """Who checks with the wrong key learns whose it was signed with."""
    other = public_half(new_key("ed25519"))
    with pytest.raises(InputError, match=f"signed with the key {key_id(public(first))[:16]}"):
        verify(first / "out", other)


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p256"])
def test_the_same_build_has_the_same_signature(algorithm: Any) -> None:  # noqa: ANN401 - a literal
    """Nothing random is in a signature, of either kind of key."""
    key = new_key(algorithm)
    first = sealed({"a": 1}, key)
    assert sealed({"a": 1}, key) == first
    assert opened(first, public_half(key)) == {"a": 1}


def test_a_key_that_cannot_sign_is_refused(tmp_path: Path) -> None:
    """RSA, an encrypted one, and what is no key: each with its own words."""
    openssl, path = need("openssl", package="openssl"), tmp_path / "key"
    encrypted = command.run([openssl, "pkey", "-aes128", "-passout", "pass:secret"], stdin=new_key("ed25519"))
    for key, said in (
        (new_key("rsa-2048"), "neither Ed25519 nor ECDSA"),
        (encrypted, "is encrypted"),
        (b"nothing", "not a private key in PEM"),
    ):
        with pytest.raises(UsageError, match=said):
            sealed({}, key)
    path.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="not a public key in PEM"):
        opened(sealed({}, new_key("ed25519")), path.read_bytes())


def test_a_lost_signing_key_is_not_made_anew_unasked(place: Path) -> None:
    """The vault remembers that there was one; another is made only on demand."""
    vault, before = place / "vault", public(place)
    (vault / "signing.key").unlink()
    with pytest.raises(UsageError, match="signing key is lost"):
        signing_key(vault, cluster="edge")
    signing_key(vault, cluster="edge", anew=True)
    assert public(place) != before
    with pytest.raises(UsageError, match="there is no vault"):
        signing_key(place / "nothing", cluster="edge")


def test_signing_changes_no_build(place: Path) -> None:
    """The vault's new key is no reason to build again."""
    options = inputs.options(place, stamp=place / "stamp.json")
    shutil.rmtree(place / "out")
    pipeline.build(plan_of(place), options=options, progress=Silent(), ask=None)
    signing_key(place / "vault", cluster="edge", anew=True)
    assert stamp.unchanged(place / "stamp.json", now=0)


def test_a_signature_lasts_while_the_build_does(place: Path) -> None:
    """The same build again keeps it; another one removes it, and verify says so."""
    build(place)
    verify(place / "out", public(place))
    path = place / "edge.yaml"
    path.write_text(path.read_text().replace("192.168.7.1]", "192.168.7.2]"))
    with pytest.raises(UsageError, match="has changed since x-1 was built"):
        signed(place)
    build(place)
    with pytest.raises(UsageError, match="was not signed, or was built again since"):
        verify(place / "out", public(place))


def test_what_is_not_as_built_is_not_signed(place: Path) -> None:
    """An altered artefact, another profile's build, and no build at all."""
    overlay = place / "out/x-1/x-1.apkovl.tar.gz"
    overlay.write_bytes(overlay.read_bytes() + b"\0")
    with pytest.raises(BuildError, match=r"not what the manifest says: x-1/x-1\.apkovl\.tar\.gz"):
        signed(place)
    manifest = place / "out/manifest.json"
    manifest.write_text(manifest.read_text().replace('"profile": "edge"', '"profile": "ours"'))
    with pytest.raises(UsageError, match="has a build of ours, not of edge"):
        signed(place)
    manifest.write_text("{}")
    with pytest.raises(BuildError, match="is not a manifest"):
        signed(place)
    manifest.unlink()
    with pytest.raises(UsageError, match="has no build"):
        signed(place)


def test_a_build_from_before_there_were_bills_is_told(place: Path) -> None:
    """A manifest of an older version has no bill of materials; that is said, and not a traceback."""
    path = place / "out/manifest.json"
    manifest = json.loads(path.read_text())
    for node in manifest["nodes"].values():
        node["artifacts"] = [item for item in node["artifacts"] if item["kind"] != "sbom"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(
        BuildError, match="x-1 has no bill of materials: it was built by a version from before"
    ):
        signed(place)


def test_the_labs_verdict_is_signed_if_it_is_about_this_build(place: Path) -> None:
    """A report on these overlays is in the statement and is checked; one on others is not."""
    out = place / "out"
    manifest = json.loads((out / "manifest.json").read_text())
    digests = [item["sha256"] for item in manifest["nodes"]["x-1"]["artifacts"] if item["kind"] == "apkovl"]
    report = {"verdict": "passed", "scenario": "cold", "nodes": [{"digest": digests[0]}]}
    (out / "lab").mkdir()
    (out / REPORT).write_text(json.dumps(report))
    key = signed(place)
    assert verify(out, key).verdict == "passed (cold)"
    (out / REPORT).write_text(json.dumps({**report, "scenario": "power-cut"}))
    with pytest.raises(InputError, match=f"{REPORT}: was altered"):
        verify(out, key)
    (out / REPORT).write_text(json.dumps({**report, "nodes": [{"digest": "0" * 64}]}))
    assert verify(out, signed(place)).verdict == ""
