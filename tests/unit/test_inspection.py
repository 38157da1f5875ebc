"""What a file is and holds, told from the file alone."""

from __future__ import annotations

import gzip
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from nodebake import command, pipeline
from nodebake.components.contract import Baked
from nodebake.console import inspected_as_text
from nodebake.errors import BuildError, UsageError
from nodebake.formats import apkovl, renewal
from nodebake.formats.packing import Shared
from nodebake.inspection import Finding, inspect
from nodebake.progress import Silent
from nodebake.tree import Tree, file
from tests.components import EPOCH, authority, baked, plan_of
from tests.need import need, need_root
from tests.unit import inputs, release

if TYPE_CHECKING:
    from pathlib import Path

RPI = "alpine-rpi-3.20.3-aarch64.tar.gz"


def make(directory: Path, system: str, outputs: str, **changes: object) -> Path:
    """Build a profile in `directory`, and return where its artefacts are."""
    plan = pipeline.resolve(inputs.profile(directory, system, outputs))
    options = inputs.options(directory, node="x-1", **changes)
    pipeline.build(plan, options=options, progress=Silent(), ask=None)
    return directory / "out/x-1"


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a node's seed and root archive, to look at only."""
    return make(tmp_path_factory.mktemp("seeds"), "debian", "[nocloud, rootfs]")


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a node's overlay and its images, to look at only."""
    need("mcopy", package="mtools")
    need("mkfs.vfat", package="dosfstools")
    directory = tmp_path_factory.mktemp("cards")
    path = inputs.on_a_pi(directory)
    base = release.tarball(directory / RPI, release.RPI)
    options = inputs.options(directory, arch="aarch64", base=base, node="x-1", zst=True)
    pipeline.image(pipeline.resolve(path), options=options, progress=Silent(), ask=None)
    return directory / "out/x-1"


def told(finding: Finding) -> dict[str, str]:
    """Return what a finding says of the node, without what hangs on the time of the test."""
    return {key: finding.release[key] for key in ("NODE", "CLUSTER", "PROFILE", "ROLE")}


SAID = {"NODE": "x-1", "CLUSTER": "edge", "PROFILE": "edge", "ROLE": "member"}


@pytest.mark.parametrize(("name", "kind"), [("x-1-seed.iso", "seed"), ("x-1.rootfs.tar.zst", "rootfs")])
def test_what_a_debian_node_gets_says_what_it_is(seeds: Path, name: str, kind: str) -> None:
    """Seed and archive name node, cluster, profile and inputs, and hold the same files."""
    finding = inspect(seeds / name)
    assert (kind, SAID) == (finding.kind, told(finding))
    assert finding.release["INPUT_1"].startswith(f"etcd 3.5.16 {inputs.HOST} sha256:")
    assert ["usr/local/bin/etcd", "usr/local/bin/etcdctl"] == [one.path for one in finding.programs]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("x-1.apkovl.tar.gz", "apkovl"), ("x-1.img", "image"), ("x-1.img.zst", "image-zst")],
)
def test_what_an_alpine_node_gets_says_what_it_is(cards: Path, name: str, kind: str) -> None:
    """The overlay says the same by itself, on a card, and on a compressed one."""
    finding = inspect(cards / name)
    assert (kind, SAID) == (finding.kind, told(finding))
    assert ("" if kind == "apkovl" else "Alpine alpine-rpi-3.20.3 240906") == finding.system


def test_an_overlay_says_which_programs_lie_beside_it(cards: Path) -> None:
    """By digest where the overlay is by itself; on a card they are read."""
    beside = inspect(cards / "x-1.apkovl.tar.gz").beside
    read = {one.path: one.sha256 for one in inspect(cards / "x-1.img").programs}
    assert {"usr/local/bin/etcd", "usr/local/bin/etcdctl"} == set(beside)
    assert beside == read
    assert {} == inspect(cards / "x-1.img").beside


def test_a_virtual_machines_disk_says_what_it_is(cards: Path, tmp_path: Path) -> None:
    """What QEMU likes best is read as well."""
    disk = tmp_path / "x-1.qcow2"
    qemu_img = need("qemu-img", package="qemu-utils")
    command.run([qemu_img, "convert", "-f", "raw", "-O", "qcow2", cards / "x-1.img", disk])
    finding = inspect(disk)
    assert ("qcow2", SAID) == (finding.kind, told(finding))


def test_a_stick_that_can_only_be_read_is_enough(cards: Path, tmp_path: Path) -> None:
    """What is unpacked to be looked into goes elsewhere than beside the file."""
    need_root()
    stick = tmp_path / "stick"
    stick.mkdir()
    mount = need("mount", package="mount")
    command.run([mount, "-t", "tmpfs", "-o", "size=200m", "none", stick])
    try:
        shutil.copyfile(cards / "x-1.img.zst", stick / "x-1.img.zst")
        command.run([mount, "-o", "remount,ro", stick])
        assert ("image-zst", SAID) == (
            inspect(stick / "x-1.img.zst").kind,
            told(inspect(stick / "x-1.img.zst")),
        )
    finally:
        command.run([need("umount", package="mount"), stick])


def test_the_ends_of_certificates_are_openssls(seeds: Path) -> None:
    """Every certificate is told, the first to end first, with the end that openssl reads in it."""
    openssl, finding = need("openssl", package="openssl"), inspect(seeds / "x-1.rootfs.tar.zst")
    contents = {one.path: one.content for one in finding.files}
    for one in finding.certificates:
        argv = [openssl, "x509", "-noout", "-enddate", "-dateopt", "iso_8601"]
        ends = command.run(argv, stdin=contents[one.path]).decode().strip()
        assert ends == f"notAfter={one.not_after.replace('T', ' ').removesuffix('+00:00')}Z"
    assert {"ca.crt", "server.crt", "peer.crt"} <= {
        one.path.rpartition("/")[2] for one in finding.certificates
    }
    assert sorted(one.not_after for one in finding.certificates) == [
        one.not_after for one in finding.certificates
    ]


def test_a_renewal_says_whose_it_is(tmp_path: Path) -> None:
    """Its node and cluster, and the certificates by their place on the node."""
    plan = plan_of(tmp_path)
    files = Tree({"etc/etcd/pki/server.crt": file(authority().certificate)})
    renewal.write(plan, plan.node("m1"), files, restart=(), out=tmp_path, epoch=EPOCH)
    finding = inspect(tmp_path / "m1/m1.renewal.tar.gz")
    assert ("renewal", "m1", "edge") == (finding.kind, finding.release["NODE"], finding.release["CLUSTER"])
    assert ["etc/etcd/pki/server.crt"] == [one.path for one in finding.certificates]


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    """An overlay without a release file has its node's name; of the rest it says that it was not said."""
    plan = plan_of(tmp_path)
    tree = Tree({path: one for path, one in baked(plan).items() if path != "etc/nodebake-release"})
    node = tmp_path / "m1"
    node.mkdir()
    apkovl.write(plan, plan.node("m1"), Baked(root=tree), out=node, epoch=EPOCH, shared=Shared(epoch=EPOCH))
    finding = inspect(node / "m1.apkovl.tar.gz")
    assert {"NODE": "m1"} == finding.release
    assert finding.certificates
    assert "not said: it was made before files said so" in inspected_as_text(
        node / "m1.apkovl.tar.gz", finding
    )


def test_no_secret_is_told(seeds: Path) -> None:
    """Neither text nor JSON has a line of a private key."""
    finding = inspect(seeds / "x-1.rootfs.tar.zst")
    keys = [one.content.decode() for one in finding.files if b"PRIVATE KEY" in one.content]
    lines = {line for key in keys for line in re.findall(r"(?m)^[A-Za-z0-9+/=]{40,}$", key)}
    said = inspected_as_text(seeds, finding) + str(finding.to_json()) + repr(finding)
    assert lines
    assert [] == [line for line in lines if line in said]


def test_a_damaged_file_is_told_apart_from_a_strange_one(seeds: Path, cards: Path, tmp_path: Path) -> None:
    """Cut short is an error of its own, and so is what nobody here wrote."""
    for path in (seeds / "x-1.rootfs.tar.zst", cards / "x-1.apkovl.tar.gz"):
        short = tmp_path / path.name
        short.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(BuildError, match=f"{path.name} is damaged"):
            inspect(short)
    strange = tmp_path / "strange"
    for content, said in (
        (b"#!/bin/sh\n", "is nothing that nodebake writes"),
        (bytes(510) + b"\x55\xaa" + bytes(4096), "has no node's files on it"),
    ):
        strange.write_bytes(content)
        with pytest.raises(UsageError, match=said):
            inspect(strange)
    with pytest.raises(UsageError, match="is a directory"):
        inspect(tmp_path)
    with pytest.raises(UsageError, match="is not there"):
        inspect(tmp_path / "nothing")
    strange.write_bytes(b"age-encryption.org/v1\n-> X25519 abc\n")
    with pytest.raises(BuildError, match="is encrypted for its recipients"):
        inspect(strange)
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"no archive"))
    with pytest.raises(BuildError, match="is damaged"):
        inspect(tmp_path / "x.gz")
