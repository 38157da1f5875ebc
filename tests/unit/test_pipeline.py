"""The whole journey, without a network: what is written, what is kept, what is refused."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from nodebake import command, pipeline, stamp
from nodebake.components.etcd import EtcdPart
from nodebake.components.firewall import FirewallPart
from nodebake.errors import InputError, ProfileError, UsageError
from nodebake.manifest import Manifest
from nodebake.progress import Silent
from tests.need import need
from tests.unit.inputs import options, profile

if TYPE_CHECKING:
    from pathlib import Path


class Told(Silent):
    """A listener that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


def build(directory: Path, **changes: object) -> Manifest:
    """Build the profile that lies in `directory`."""
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    return pipeline.build(plan, options=options(directory, **changes), progress=Silent(), ask=None)


def contents(directory: Path) -> dict[str, bytes]:
    """Return every file below `directory`."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory with a profile of three members and a client."""
    profile(tmp_path)
    return tmp_path


def test_everything_written_is_in_the_manifest_and_the_sums(first: Path) -> None:
    """The index, the sums and the disk agree; sha256sum checks them."""
    manifest = Manifest.from_json((first / "out/manifest.json").read_text())
    out = first / "out"
    index = {"manifest.json", "SHA256SUMS", "plan.json"}
    assert set(contents(out)) == {item.path for item in manifest.artifacts} | index
    command.run([need("sha256sum", package="coreutils"), "--check", "--strict", "SHA256SUMS"], cwd=out)
    for item in manifest.artifacts:
        content = (out / item.path).read_bytes()
        assert (item.size, item.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_manifest_says_where_inputs_came_from(first: Path) -> None:
    """Name, version, source and digest of what was verified."""
    document = json.loads((first / "out/manifest.json").read_text())
    assert document["schema"] == 1
    assert [(used["name"], used["version"]) for used in document["inputs"]] == [("etcd", "3.5.16")]
    assert list(document["nodes"]) == ["x-1", "x-2", "x-3", "y-1"]


def test_nobody_else_reads_what_has_keys(first: Path) -> None:
    """Files are 0600 and directories 0700, whatever the umask."""
    paths = [first / "out", *(first / "out").rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}


def test_an_alpine_node_has_one_overlay(tmp_path: Path) -> None:
    """One overlay per node is all there is beside the board's files."""
    profile(tmp_path, "alpine", "[apkovl]")
    manifest = build(tmp_path)
    kinds = [(name, item.kind) for name, items in manifest.nodes.items() for item in items]
    beside = {"boot", "sbom"}
    assert [kind for kind in kinds if kind[1] not in beside] == [(name, "apkovl") for name in manifest.nodes]


def test_a_new_authority_is_told_once(place: Path) -> None:
    """The first build says what it minted and for how long; the second has nothing to say."""
    plan = pipeline.resolve(str(place / "edge.yaml"))
    for expected in (1, 0):
        told = Told()
        pipeline.build(plan, options=options(place), progress=told, ask=None)
        minted = [note for note in told.notes if str(place / "vault") in note]
        assert len(minted) == expected
        assert all("10y" in note and "5y" in note for note in minted)


def test_what_a_changed_profile_does_not_change_is_told(built: Path) -> None:
    """Certificates keep their end and keys their kind; the note says how many, and what is new then."""
    with (built / "edge.yaml").open("a") as file:
        file.write("pki: {leaf_lifetime: 1y, algorithm: rsa-2048}\n")
    told = Told()
    pipeline.build(
        pipeline.resolve(str(built / "edge.yaml")), options=options(built), progress=told, ask=None
    )
    lifetime, algorithm = told.notes
    assert lifetime.startswith("pki.leaf_lifetime is 1y, but 11 certificates issued before keep their end, ")
    assert algorithm.startswith("pki.algorithm is rsa-2048, but 11 keys made before stay ecdsa-p256: ")


def test_one_node_keeps_the_others_rows(built: Path) -> None:
    """--node writes that node only; the manifest still has all of them."""
    whole = Manifest.from_json((built / "out/manifest.json").read_text())
    before = (built / "out/x-2/x-2.rootfs.tar.zst").stat().st_ino
    again = build(built, node="x-1")
    assert again.nodes == whole.nodes
    assert (built / "out/x-2/x-2.rootfs.tar.zst").stat().st_ino == before


def test_a_node_that_is_not_there_is_refused_with_those_that_are(place: Path) -> None:
    """Nothing is written, not even a vault."""
    with pytest.raises(UsageError, match=r"has no node x-9\n  its nodes are x-1, x-2, x-3, y-1"):
        build(place, node="x-9")
    assert not (place / "vault").exists()
    assert not (place / "out").exists()


def test_a_wrong_input_mints_nothing(place: Path) -> None:
    """An archive that does not verify ends the build before there is a vault."""
    told = options(place)
    (place / "etcd-v3.5.16-host.tar.gz").write_bytes(b"something else")
    with pytest.raises(InputError):
        pipeline.build(pipeline.resolve(str(place / "edge.yaml")), options=told, progress=Silent(), ask=None)
    assert not (place / "vault").exists()
    assert not (place / "out").exists()


def test_an_epoch_before_the_certificates_is_refused(place: Path) -> None:
    """Nodes' clocks start at the epoch, where no certificate may be in the future."""
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH 1000 is before the newest certificate"):
        build(place, epoch=1000)
    assert not (place / "vault").exists()
    assert not (place / "cache").exists()


def test_an_epoch_before_new_certificates_issues_none(built: Path) -> None:
    """A later build that would issue certificates too new for its own epoch leaves the vault as it was."""
    epoch = Manifest.from_json((built / "out/manifest.json").read_text()).epoch - 8 * 86400
    path = built / "edge.yaml"
    path.write_text(path.read_text().replace("domain: edge.", "domain: other."))
    before = {name: content for name, content in contents(built / "vault").items() if name != "lock"}
    with pytest.raises(UsageError, match=f"SOURCE_DATE_EPOCH {epoch} is before the newest certificate"):
        build(built, epoch=epoch)
    assert before == {name: content for name, content in contents(built / "vault").items() if name != "lock"}


def test_a_given_epoch_is_every_times_source(place: Path) -> None:
    """The manifest and the files' own times are SOURCE_DATE_EPOCH."""
    epoch = 4_000_000_000
    manifest = build(place, epoch=epoch)
    assert manifest.epoch == epoch
    assert {(place / "out" / item.path).stat().st_mtime for item in manifest.artifacts} == {epoch}


def test_what_is_no_longer_made_is_removed(built: Path) -> None:
    """A node that left the profile leaves no artefact behind; a user's own file stays."""
    path = built / "edge.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "y-1" not in line))
    (built / "out/x-1/notes.txt").write_text("mine")
    build(built)
    assert not (built / "out/y-1").exists()
    assert (built / "out/x-1/notes.txt").exists()


def test_a_manifest_cannot_have_files_elsewhere_removed(built: Path) -> None:
    """A path that climbs out of the build's directory is not followed."""
    (built / "precious").write_text("x")
    index = built / "out/manifest.json"
    index.write_text(index.read_text().replace("y-1/y-1.rootfs.tar.zst", "../precious"))
    build(built)
    assert (built / "precious").exists()


def test_the_ledger_knows_where_certificates_went(first: Path) -> None:
    """Every certificate has the artefact it is in."""
    rows = json.loads((first / "vault/ledger.json").read_text())["certificates"]
    assert {row["artifact"] for row in rows if row["holder"] == "x-2"} == {"x-2/user-data"}
    assert {row["artifact"] for row in rows if row["holder"] == "operator"} == {"operator/admin.pem"}


def test_every_problem_of_a_profile_is_told_at_once(place: Path) -> None:
    """The core's and the components' problems come together."""
    path = place / "edge.yaml"
    text = path.read_text().replace("192.168.7.12/24", "192.168.7.11/24")
    path.write_text(text.replace("3.5.16}", "3.5.16, heartbeat_interval: 1000, election_timeout: 1500}"))
    with pytest.raises(ProfileError) as caught:
        pipeline.resolve(str(path))
    assert len(caught.value.problems) > 1


def test_the_operators_environment_is_found_from_anywhere(first: Path) -> None:
    """Sourced in bash by its path from another directory, it names its own directory's files."""
    program = need("bash", package="bash")
    env = first / "out/operator/etcdctl.env"
    script = f'cd /; . "{env}" && echo "$ETCDCTL_ENDPOINTS|$ETCDCTL_CACERT|$ETCDCTL_CERT|$ETCDCTL_KEY"'
    told = command.run([program, "-c", script]).decode().strip().split("|")
    assert told[0] == "https://192.168.7.11:2379,https://192.168.7.12:2379,https://192.168.7.13:2379"
    assert told[1:] == [str(env.parent / name) for name in ("ca.crt", "admin.pem", "admin.pem")]


def test_a_shell_that_does_not_know_is_told_what_to_do(first: Path) -> None:
    """POSIX sh cannot know where a sourced file lies: it says so, or takes NODEBAKE_OPERATOR."""
    dash = need("dash", package="dash")
    env = first / "out/operator/etcdctl.env"
    line = f'cd /; . "{env}"; echo "$ETCDCTL_KEY"'
    done = subprocess.run([dash, "-c", line], capture_output=True, text=True, check=False)  # noqa: S603 - a test's own line
    assert "set NODEBAKE_OPERATOR" in done.stderr
    told = command.run([dash, "-c", line], env={"NODEBAKE_OPERATOR": str(env.parent)})
    assert told.decode().strip() == str(env.parent / "admin.pem")


def test_ssh_finds_every_name_in_known_hosts(first: Path) -> None:
    """ssh-keygen finds a node by its name, its full name and its address."""
    ssh_keygen = need("ssh-keygen", package="openssh-client")
    for name in ("x-2", "x-2.edge.example.com", "192.168.7.12"):
        found = command.run([ssh_keygen, "-F", name, "-f", first / "out/operator/known_hosts"])
        assert b"ssh-ed25519" in found


def test_members_that_come_late_are_told_of(place: Path) -> None:
    """Whether the cluster runs already is not for a build to know; a client can found nothing."""
    build(place)
    path = place / "edge.yaml"
    more = (
        "  - {name: x-4, address: 192.168.7.14/24}\n  - {name: y-2, address: 192.168.7.22/24, role: client}\n"
    )
    path.write_text(path.read_text().replace("etcd:", f"{more}etcd:"))
    for expected in (1, 0):
        told = Told()
        pipeline.build(pipeline.resolve(str(path)), options=options(place), progress=told, ask=None)
        assert len([note for note in told.notes if note.startswith("x-4: new in a cluster")]) == expected


def test_a_plan_takes_further_members(place: Path) -> None:
    """By the rules of the profile: they are let in and named, and what is wrong with them is told."""
    (place / "edge.yaml").write_text((place / "edge.yaml").read_text() + "firewall: {}\n")
    plan = pipeline.resolve(str(place / "edge.yaml"))
    more = pipeline.with_members(plan, {"x-9": "192.168.7.19/24", "y-1": "192.168.7.21/24"})
    assert [node.name for node in more.members] == ["x-1", "x-2", "x-3", "x-9", "y-1"]
    assert "https://192.168.7.19:2379" in more.part(EtcdPart).endpoints
    peer = next(rule for rule in more.part(FirewallPart).rules if rule.opening.port == 2380)
    assert ("x-9" in peer.opening.nodes, "192.168.7.19" in str(peer.sources)) == (True, True)
    with pytest.raises(ProfileError, match="the other nodes are in 192"):
        pipeline.with_members(plan, {"x-9": "192.168.8.19/24"})


def test_an_unchanged_build_is_known_by_its_stamp(place: Path) -> None:
    """While everything is as it was the stamp holds; an expired certificate ends it."""
    path = place / "stamp.json"
    manifest = build(place, stamp=path)
    assert stamp.unchanged(path, now=0) == (place / "out", manifest)
    assert stamp.unchanged(path, now=1e11) is None


@pytest.mark.parametrize(
    "touched", ["edge.yaml", "vault/keys.json", "out/x-1/meta-data", "out/manifest.json", "base/b.yaml"]
)
def test_a_touched_file_ends_the_stamp(place: Path, touched: str) -> None:
    """The profile, what it extends, the vault, an artefact: each means building again."""
    path = place / "stamp.json"
    (place / "base").mkdir()
    (place / "base/b.yaml").write_text("etcd: {version: 3.5.15}\n")
    with (place / "edge.yaml").open("a") as file:
        file.write("extends: base/b.yaml\n")
    build(place, stamp=path)
    with (place / touched).open("a") as file:
        file.write("\n")
    assert stamp.unchanged(path, now=0) is None


def test_a_missing_artefact_ends_the_stamp(place: Path) -> None:
    """What was deleted is built again."""
    path = place / "stamp.json"
    build(place, stamp=path)
    (place / "out/operator/admin.pem").unlink()
    assert stamp.unchanged(path, now=0) is None


def test_what_a_link_leads_to_is_part_of_the_stamp(place: Path) -> None:
    """A profile may be a link to a file kept elsewhere: an edit there is an edit of the profile."""
    real = place / "elsewhere" / "edge.txt"
    real.parent.mkdir()
    (place / "edge.yaml").rename(real)
    (place / "edge.yaml").symlink_to(real)
    path = place / "stamp.json"
    manifest = build(place, stamp=path)
    assert stamp.unchanged(path, now=0) == (place / "out", manifest)
    real.write_text(real.read_text() + "\n")
    assert stamp.unchanged(path, now=0) is None


def test_every_file_of_an_overlay_is_part_of_the_stamp(place: Path) -> None:
    """No name is passed over in a user's own files, as a vault's lock is in the vault."""
    overlay = place / "mine/etc/app/lock"
    overlay.parent.mkdir(parents=True)
    overlay.write_text("a")
    with (place / "edge.yaml").open("a") as file:
        file.write("overlays: [{path: mine}]\n")
    path = place / "stamp.json"
    build(place, stamp=path)
    overlay.write_text("b")
    assert stamp.unchanged(path, now=0) is None


def test_a_certificate_that_was_replaced_does_not_end_the_stamp(place: Path) -> None:
    """Only certificates in use count: one that was issued again stays in the ledger, and expires there."""
    path, text = place / "stamp.json", (place / "edge.yaml").read_text()
    (place / "edge.yaml").write_text(f"{text}pki: {{leaf_lifetime: 1h}}\n")
    build(place)
    (place / "edge.yaml").write_text(f"{text}pki: {{leaf_lifetime: 9y, subject: {{organization: Edge}}}}\n")
    manifest = build(place, stamp=path)
    assert stamp.unchanged(path, now=manifest.epoch + 8 * 365 * 86400) == (place / "out", manifest)


def test_wrong_words_and_wrong_values_are_told_together(place: Path) -> None:
    """A misspelt key does not hide what the plan and the components have to say."""
    path = place / "edge.yaml"
    text = path.read_text().replace(
        "version: 3.5.16", "version: 3.5.16, storag: ssd, nice: 99, election_timeout: 300"
    )
    path.write_text(text.replace("{name: x-2,", "{name: x-1,"))
    with pytest.raises(ProfileError) as refused:
        pipeline.resolve(str(path))
    paths = [problem.path for problem in refused.value.problems]
    assert sorted(paths) == ["etcd.election_timeout", "etcd.nice", "etcd.storag", "nodes[1].name"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "pki: {authority: {certificate: own.crt, key: own.key}}",
            "pki.authority.key: cannot read {place}/own.key: No such file or directory; ",
        ),
        (
            "pki: {authority: {certificate: edge.yaml, key: edge.yaml}}",
            "pki.authority.certificate: the authority's certificate is not a certificate in PEM: ",
        ),
        (
            "pki: {authority: {passphrase: {env: NODEBAKE_NOT_SET}}}",
            "pki.authority.passphrase: the environment variable NODEBAKE_NOT_SET, ",
        ),
        (
            "overlays: [{path: mine, modes: {etc/motd: '0600'}}]",
            "overlays[0]: {place}/mine has no file etc/motd; ",
        ),
    ],
)
def test_what_the_profile_names_is_told_at_its_line(line: str, expected: str, place: Path) -> None:
    """An authority, a pass phrase or a file that cannot be used has its place; nothing is written."""
    (place / "mine").mkdir()
    with (place / "edge.yaml").open("a") as file:
        file.write(line)
    with pytest.raises(ProfileError) as refused:
        build(place)
    assert str(refused.value).startswith(f"{place}/edge.yaml:12: {expected.format(place=place)}")
    assert not (place / "vault").exists()
    assert not (place / "out").exists()


def test_a_renamed_cluster_is_told_at_its_line(built: Path) -> None:
    """The vault is the old cluster's, and the profile's line says another."""
    path = built / "edge.yaml"
    path.write_text(path.read_text().replace("{name: edge,", "{name: core,"))
    with pytest.raises(
        ProfileError, match=rf"^{path}:2: cluster\.name: the vault .* belongs to the cluster edge"
    ):
        build(built)
