"""The bill of materials: what is in a node's artefacts and images, in a form that others read."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from nodebake import pipeline
from nodebake.inspection import inspect
from nodebake.manifest import Manifest
from nodebake.progress import Silent
from tests.need import need
from tests.unit import inputs, release

if TYPE_CHECKING:
    from pathlib import Path

RPI, ROOT = "alpine-rpi-3.20.3-aarch64.tar.gz", "root.tar"
ETCD = "input:etcd"


def bill(path: Path) -> dict[str, dict[str, Any]]:
    """Return the components of a bill, by reference, after the official schema was asked."""
    text = path.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert ("CycloneDX", "1.6") == (document["bomFormat"], document["specVersion"])
    return {one["bom-ref"]: one for one in document["components"]}


def test_a_bill_lists_artefacts_programs_and_inputs(first: Path) -> None:
    """Each with its digest: the files of the node, etcd on it, and the archive that it came in."""
    built = first / "out"
    manifest = Manifest.from_json((built / "manifest.json").read_text())
    found = bill(built / "x-1/x-1.cdx.json")
    artefacts = {
        one["name"]: one["hashes"][0]["content"] for ref, one in found.items() if ref.startswith("artifact:")
    }
    assert artefacts == {
        item.path.removeprefix("x-1/"): item.sha256 for item in manifest.nodes["x-1"] if item.kind != "sbom"
    }
    used = manifest.inputs[0]
    etcd = found[ETCD]
    assert ("etcd", "3.5.16", "application") == (etcd["name"], etcd["version"], etcd["type"])
    assert used.sha256 == etcd["externalReferences"][0]["hashes"][0]["content"]
    (program,) = (
        one.sha256
        for one in inspect(built / "x-1/x-1.rootfs.tar.zst").files
        if one.path == "usr/local/bin/etcd"
    )
    assert program == found["file:/usr/local/bin/etcd"]["hashes"][0]["content"]


def test_a_client_has_no_server_in_its_bill(first: Path) -> None:
    """What is listed is what the node has."""
    refs = {ref for ref in bill(first / "out/y-1/y-1.cdx.json") if ref.startswith("file:")}
    assert {"file:/usr/local/bin/etcdctl"} == refs


def test_a_bill_says_licences(tmp_path: Path) -> None:
    """The lock file's, as SPDX expressions."""
    plan = pipeline.resolve(inputs.profile(tmp_path))
    options = inputs.options(tmp_path)
    lock = tmp_path / "sources.lock"
    lock.write_text(lock.read_text().replace("[etcd]\n", '[etcd]\nlicence = "Apache-2.0 OR MIT"\n'))
    pipeline.build(plan, options=options, progress=Silent(), ask=None)
    licences = bill(tmp_path / "out/x-1/x-1.cdx.json")[ETCD]["licenses"]
    assert [{"expression": "Apache-2.0 OR MIT"}] == licences


def test_alpines_packages_are_in_an_images_bill(tmp_path: Path) -> None:
    """The packages on the medium, each with version, licence and its file's digest; and all of the node's."""
    need("mcopy", package="mtools")
    path = inputs.on_a_pi(tmp_path)
    base = release.tarball(tmp_path / RPI, release.RPI)
    options = inputs.options(tmp_path, arch="aarch64", base=base, node="x-1")
    manifest = pipeline.image(pipeline.resolve(path), options=options, progress=Silent(), ask=None)
    found = bill(tmp_path / "out/x-1/x-1.img.cdx.json")
    (package,) = (one for ref, one in found.items() if ref.startswith("pkg:apk/alpine/"))
    assert ("libstdc++", "13.2.1_git20240309-r0") == (package["name"], package["version"])
    assert hashlib.sha256(b"package").hexdigest() == package["hashes"][0]["content"]
    assert [{"expression": "GPL-2.0-or-later AND LGPL-2.1-or-later"}] == package["licenses"]
    assert ("operating-system", "3.20.3") == tuple(
        found["input:alpine-rpi"][key] for key in ("type", "version")
    )
    assert bill(tmp_path / "out/x-1/x-1.cdx.json").keys() < found.keys()
    kinds = {item.kind: item.sha256 for item in manifest.nodes["x-1"]}
    assert kinds["image"] == found["artifact:x-1.img"]["hashes"][0]["content"]
    assert {"sbom", "image-sbom"} < kinds.keys()


def test_debians_packages_are_in_an_images_bill(tmp_path: Path) -> None:
    """Those that dpkg calls installed, and no others; with the licences that their own files state."""
    need("debugfs", package="e2fsprogs")
    path = inputs.on_a_pi(tmp_path, "debian", "[rootfs]")
    options = inputs.options(tmp_path, arch="aarch64", base=release.root(tmp_path / ROOT), node="x-1")
    pipeline.image(pipeline.resolve(path), options=options, progress=Silent(), ask=None)
    found = bill(tmp_path / "out/x-1/x-1.img.cdx.json")
    licences = {
        one["name"]: [told.get("expression") or told["license"].popitem()[1] for told in one["licenses"]]
        for ref, one in found.items()
        if ref.startswith("pkg:deb/debian/")
    }
    libc = ["(LGPL-2.1-or-later OR MIT) AND GPL-2.0-only"]
    assert licences == {
        "libc6": libc,
        "libc-bin": libc,  # its directory leads to the other's
        "dbus": ["BSD-3-Clause", "(AFL-2.1 OR GPL-2.0-or-later)", "public-domain"],
        "zlib1g": ["NOASSERTION"],  # written for people
    }
    assert "pkg:deb/debian/libc6@2.41-12?arch=arm64" in found
