"""The lock file: what is wrong in it is named by line or key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodebake.errors import InputError
from nodebake.sources import Want
from nodebake.sources.lock import read
from tests.need import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = ROOT / "sources.lock"
SHA256 = "8e68c55e6d72b791a9e98591c755af36f6f55aa9eca63767822cd8a3817fdb23"


def want(version: str = "3.5.16", arch: str = "aarch64", files: tuple[str, ...] = ("etcd",)) -> Want:
    """Return a want of etcd."""
    return Want(name="etcd", version=version, arch=arch, files=files)


def test_the_shipped_lock_pins_each_release_for_both_architectures() -> None:
    """Every version has a hash of its own for each."""
    pins = read(SHIPPED).pins
    for name, releases in {"etcd": 43, "flannel": 4}.items():
        of = {key: pin.sha256 for key, pin in pins.items() if key[0] == name}
        assert {arch for _, _, arch in of} == {"x86_64", "aarch64"}
        assert len(set(of.values())) == len(of) == 2 * releases


def test_every_release_that_can_be_built_is_pinned_for_three_architectures() -> None:
    """Also for 32-bit arm, for which upstream has no etcd; no two files are the same."""
    lock = read(SHIPPED)
    assert {("etcd", "3.6.14"), ("flannel", "0.28.9")} <= set(lock.recipes)
    expected = {(*key, arch) for key in lock.recipes for arch in ("x86_64", "aarch64", "armv7")}
    assert expected == set(lock.built)
    digests = [pin.sha256 for pin in (*lock.built.values(), *lock.pins.values())]
    assert len(set(digests)) == len(digests)


def test_a_pin_has_url_hash_and_members() -> None:
    """The templates are filled in with upstream's names."""
    (pin,) = read(SHIPPED).choices(want())
    name = "etcd-v3.5.16-linux-arm64"
    assert pin.url == f"https://github.com/etcd-io/etcd/releases/download/v3.5.16/{name}.tar.gz"
    assert (pin.name, pin.sha256) == (f"{name}.tar.gz", SHA256)
    assert pin.members["etcdctl"] == f"{name}/etcdctl"


@pytest.mark.parametrize("asked", [want(version="3.5.99"), want(arch="riscv64"), want(files=("etcdd",))])
def test_what_is_not_pinned_is_refused(asked: Want) -> None:
    """An unknown version, architecture or program is an input error."""
    with pytest.raises(InputError, match=r"sources\.lock"):
        read(SHIPPED).choices(asked)


def test_an_unpinned_version_names_those_that_are() -> None:
    """The user can choose from the message."""
    with pytest.raises(InputError, match=r"etcd 3\.5\.99 for aarch64 is not pinned(?s:.*)3\.6\.14, 3\.6\.13"):
        read(SHIPPED).choices(want(version="3.5.99"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("schema = 1", "schema = 1 1", r"sources\.lock: .*line 12"),
        ("schema = 1", "schema = 2", r"sources\.lock: schema: is not 1"),
        ("schema = 1", "", r"sources\.lock: schema: is missing"),
        (SHA256, "abc", r'etcd\.releases\."3\.5\.16"\.sha256\.aarch64: is not a sha256'),
        ("sha256.aarch64", "sha256.arm", r'etcd\.releases\."3\.6\.14"\.sha256\.arm: is not among'),
        ('confidence = "A"', 'confidence = "Z"', r'etcd\.releases\."3\.6\.14"\.confidence: is not A, B or C'),
        ("confirmed = false", 'confirmed = "no"', r"confirmed: is not true or false"),
        ('suite = "trixie"', "suite = 13", r"debian\.suite: is not a text"),
        ("[debian.etcd]", "[debian.etcd.x]", r"debian\.etcd\.x\.package: is missing"),
        ('files = ["etcd",', "files = [1,", r"etcd\.files: is not a list of texts"),
    ],
)
def test_a_bad_lock_names_line_or_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    """Each slip is an input error that says where."""
    text = SHIPPED.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "sources.lock").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read(tmp_path / "sources.lock")


def test_a_missing_lock_is_an_input_error(tmp_path: Path) -> None:
    """It names the file."""
    with pytest.raises(InputError, match=r"sources\.lock"):
        read(tmp_path / "sources.lock")
