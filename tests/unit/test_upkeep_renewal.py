"""What a renewal holds, and what its script does with a node."""

from __future__ import annotations

import json
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from nodebake import command, pipeline, upkeep
from nodebake.errors import BuildError, UsageError
from nodebake.progress import Silent
from tests.need import need
from tests.unit.inputs import options

if TYPE_CHECKING:
    from pathlib import Path

YEARS = 10 * 365 * 86400
RENEWAL = "x-1/x-1.renewal.tar.gz"
PKI = "etc/etcd/pki"


def renew(directory: Path, *, within: int = YEARS, new_keys: bool = False, node: str = "") -> upkeep.Renewed:
    """Renew as `certs.renew` does."""
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    wanted = upkeep.Renewal(within=within, new_keys=new_keys)
    return upkeep.renew(plan, options(directory, node=node), wanted, progress=Silent(), ask=None)


def files(archive: Path) -> dict[str, bytes]:
    """Return a renewal's files by their place on the node, read by tarfile."""
    top, found = "nodebake-renewal/files/", {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.startswith(top):
                content = tar.extractfile(member)
                found[member.name.removeprefix(top)] = content.read() if content else b""
    return found


def test_nothing_is_renewed_that_has_time_left(built: Path) -> None:
    """A second run right after the first finds nothing to renew, and has nothing to bring anywhere."""
    done = renew(built, within=90 * 86400)
    assert (done.rows, done.archives) == ((), {})


def test_a_renewal_has_only_what_changed(built: Path) -> None:
    """With the same keys only certificates; with new keys these as well; nothing else."""
    certificates = {f"{PKI}/{name}.crt" for name in ("server", "peer", "client")}
    renew(built)
    assert set(files(built / "out" / RENEWAL)) == certificates
    assert set(files(built / "out/y-1/y-1.renewal.tar.gz")) == {f"{PKI}/client.crt"}
    renew(built, new_keys=True)
    keys = {path.replace(".crt", ".key") for path in certificates}
    assert set(files(built / "out" / RENEWAL)) == certificates | keys


def test_openssl_says_that_keys_stay_and_certificates_are_new(built: Path) -> None:
    """The renewed certificate is for the key that the node has, and from the authority that it trusts."""
    renew(built)
    certificate = built / "peer.crt"
    certificate.write_bytes(files(built / "out" / RENEWAL)[f"{PKI}/peer.crt"])
    root = built / "root"
    root.mkdir()
    command.run(["tar", "-C", root, "--zstd", "-xf", built / "out/x-1/x-1.rootfs.tar.zst"])
    openssl = need("openssl", package="openssl")
    command.run([openssl, "verify", "-CAfile", root / PKI / "ca.crt", certificate])
    new, key = (
        command.run([openssl, *words])
        for words in (
            ("x509", "-in", certificate, "-noout", "-pubkey"),
            ("pkey", "-in", root / PKI / "peer.key", "-pubout"),
        )
    )
    assert new == key
    assert certificate.read_bytes() != (root / PKI / "peer.crt").read_bytes()


def test_one_node_is_renewed_alone(built: Path) -> None:
    """Other nodes and the operator keep what they have."""
    done = renew(built, node="x-1")
    assert {row.holder for row in done.rows} == {"x-1"}
    assert list(done.archives) == ["x-1"]
    with pytest.raises(UsageError, match="no node z"):
        renew(built, node="z")


def test_what_died_before_it_was_packed_is_packed_by_the_next_run(built: Path) -> None:
    """A renewal that issued and wrote no archive is finished by the same command again, with no new issue."""
    first = renew(built, new_keys=True)
    for name in first.archives:
        (built / "out" / first.archives[name].path).unlink()
    again = renew(built, within=90 * 86400)
    assert again.rows == ()
    assert again.archives.keys() == first.archives.keys()
    assert f"{PKI}/peer.key" in files(built / "out" / RENEWAL)


def test_later_builds_have_the_renewed_certificates(built: Path) -> None:
    """After the next build, artefacts and ledger agree again, and the renewals are gone."""
    renew(built)
    plan = pipeline.resolve(str(built / "edge.yaml"))
    pipeline.build(plan, options=options(built), progress=Silent(), ask=None)
    rows, _ = upkeep.certificates(plan, options(built), live=False)
    assert {row.complaints for row in rows} == {()}
    assert not (built / "out" / RENEWAL).exists()


def test_the_ledger_knows_where_renewed_certificates_went(built: Path) -> None:
    """Into the renewal of each node, and the operator's into the file that was written."""
    renew(built)
    rows = json.loads((built / "vault/ledger.json").read_text())["certificates"]
    last = {(row["holder"], row["name"]): row["artifact"] for row in rows}
    assert last["operator", "client"] == "operator/admin.pem"
    assert last["x-1", "peer"] == "x-1/x-1.renewal.tar.gz"


def test_index_and_sums_know_the_renewal(built: Path) -> None:
    """sha256sum agrees with everything in the build's directory."""
    renew(built)
    sums = (built / "out/SHA256SUMS").read_text()
    assert RENEWAL in sums
    command.run(
        [need("sha256sum", package="coreutils"), "--check", "--strict", "SHA256SUMS"], cwd=built / "out"
    )


class Node:
    """A node's files below a directory, with a renewal unpacked beside them."""

    def __init__(self, built: Path, directory: Path, *, name: str = "x-1", root: str = "ext4") -> None:
        self.root, self.data = directory / "root", directory / "root/data"
        self.root.mkdir()
        command.run(["tar", "-C", self.root, "--zstd", "-xf", built / f"out/{name}/{name}.rootfs.tar.zst"])
        self.data.mkdir()
        self.mounts = directory / "mounts"
        self.mounts.write_text(f"overlay / overlay rw 0 0\nroot / {root} rw 0 0\n")
        command.run(["tar", "-C", directory, "-xzf", built / "out" / RENEWAL])
        self.unpacked = directory / "nodebake-renewal"

    def apply(self, script: Path | None = None, *words: str) -> None:
        """Run the script, under busybox's shell."""
        shell = [need("busybox", package="busybox-static"), "sh"]
        env = {"ROOT": str(self.root), "MOUNTS": str(self.mounts)}
        command.run([*shell, script or self.unpacked / "apply", *words], env=env)

    def read(self, name: str) -> bytes:
        """Return one of the certificates or keys."""
        return (self.root / PKI / name).read_bytes()


def test_files_take_the_place_of_the_old_ones_and_keep_their_modes(built: Path, tmp_path: Path) -> None:
    """Owner and mode are those that the node gave its files, whatever the archive says."""
    renew(built, new_keys=True)
    node = Node(built, tmp_path)
    (node.root / PKI / "peer.key").chmod(0o640)
    kept = {f"{PKI}/{name}": node.read(name) for name in ("ca.crt", "crl.der")}
    wanted = kept | files(built / "out" / RENEWAL)
    node.apply()
    assert {f"{PKI}/{path.name}": path.read_bytes() for path in (node.root / PKI).iterdir()} == wanted
    assert stat.S_IMODE((node.root / PKI / "peer.key").stat().st_mode) == 0o640
    assert not node.unpacked.exists()


def test_a_link_to_the_boot_medium_gives_way(built: Path, tmp_path: Path) -> None:
    """What was linked there is a file of the node's own then, and the medium keeps what it has."""
    renew(built)
    node = Node(built, tmp_path)
    place, medium = node.root / PKI / "server.crt", tmp_path / "medium"
    place.rename(medium)
    place.symlink_to(medium)
    before = medium.read_bytes()
    node.apply()
    assert (False, files(built / "out" / RENEWAL)[f"{PKI}/server.crt"]) == (
        place.is_symlink(),
        place.read_bytes(),
    )
    assert before == medium.read_bytes()


def test_a_renewal_of_another_node_is_refused(built: Path, tmp_path: Path) -> None:
    """Nothing changes on a node that it is not for."""
    renew(built)
    node = Node(built, tmp_path, name="x-2")
    before = node.read("peer.crt")
    with pytest.raises(BuildError, match="this is for x-1 of edge, and here is edge x-2"):
        node.apply()
    assert node.read("peer.crt") == before


def test_a_root_in_memory_gets_its_renewal_again_after_a_reboot(built: Path, tmp_path: Path) -> None:
    """It is kept with etcd's data; a later, smaller one adds to it; a newer artefact wins over both."""
    renew(built, new_keys=True)
    node = Node(built, tmp_path, root="tmpfs")
    (node.root / "etc/nodebake/etcd").write_text('DATA_MOUNT="/data"\n')
    baked = {name: node.read(name) for name in ("peer.crt", "peer.key")}
    node.apply()
    renewed = {name: node.read(name) for name in baked}
    kept = node.data / "nodebake/renewal"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700

    for name, content in baked.items():  # a reboot
        (node.root / PKI / name).write_bytes(content)
    node.apply(kept / "apply", "again")
    assert {name: node.read(name) for name in baked} == renewed

    release = node.root / "etc/nodebake-release"
    release.write_text(release.read_text().replace('EPOCH="', 'EPOCH="9'))  # a later artefact
    (node.root / PKI / "peer.crt").write_bytes(b"newer")
    node.apply(kept / "apply", "again")
    assert node.read("peer.crt") == b"newer"


def test_what_was_kept_before_a_newer_artefact_does_not_come_back(built: Path, tmp_path: Path) -> None:
    """A renewal after that is kept by itself: older files would undo what the artefact brought."""
    renew(built, new_keys=True)
    node = Node(built, tmp_path, root="tmpfs")
    (node.root / "etc/nodebake/etcd").write_text('DATA_MOUNT="/data"\n')
    node.apply()
    kept = node.data / "nodebake/renewal/files" / PKI
    (kept / "peer.key").write_bytes(b"old")
    release = node.root / "etc/nodebake-release"
    release.write_text(release.read_text().replace('EPOCH="', 'EPOCH="9'))
    renew(built)
    command.run(["tar", "-C", tmp_path, "-xzf", built / "out" / RENEWAL])
    (node.unpacked / f"files/{PKI}/peer.key").unlink()  # one with fewer files
    node.apply()
    assert sorted(path.name for path in kept.iterdir()) == sorted(
        path.rpartition("/")[2] for path in files(built / "out" / RENEWAL) if not path.endswith("peer.key")
    )
