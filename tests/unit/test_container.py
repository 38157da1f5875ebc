"""The builder in a container, as far as it goes without an engine; tests/container/ has the rest."""

from __future__ import annotations

import re
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nodebake import container
from nodebake.errors import InputError, UsageError
from nodebake.pipeline import Options, resolve
from nodebake.progress import Silent
from tests.need import ROOT
from tests.tools import TOOLS

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = re.compile(r'package="([a-z0-9][a-z0-9.+-]+)"')

# Debian Policy 3.8: on every Debian system, so no package list names them.
ESSENTIAL = {
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "sed",
    "tar",
    "util-linux",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout with the image's ingredients only."""
    directory = tmp_path / "checkout"
    directory.mkdir()
    for name in container.INGREDIENTS:
        (directory / name).write_text(f"# {name}\n")
    return directory


@pytest.mark.parametrize("name", container.INGREDIENTS)
def test_the_tag_follows_every_ingredient(checkout: Path, name: str) -> None:
    """A changed Containerfile or lock means another image; the same ones, the same image."""
    before = container.tag(checkout)
    assert before == container.tag(checkout)
    (checkout / name).write_text("# changed\n")
    assert before != container.tag(checkout)


def test_directories_keep_their_path(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in an argument or a message means the same on both sides; only outputs are writable."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    out = tmp_path / "out"
    job = container.Job(checkout=checkout, arguments=(), readable=(tmp_path,), writable=(out,))
    assert [f"{tmp_path}:{tmp_path}:ro", f"{checkout}:{checkout}:ro", f"{out}:{out}:rw"] == container.binds(
        job
    )
    assert out.stat().st_mode & 0o777 == 0o700


def test_a_writable_directory_inside_the_checkout_stays_writable(checkout: Path) -> None:
    """build/, vault/ and cache/ lie in the read-only checkout and are bound over it."""
    build = checkout / "build"
    bound = container.binds(container.Job(checkout=checkout, arguments=(), writable=(build,)))
    assert f"{build}:{build}:rw" in bound


def test_callers_authorities_come_along(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a proxy with its own authority, SSL_CERT_FILE counts in the container as well."""
    trust = tmp_path / "trust.pem"
    trust.write_text("-----BEGIN CERTIFICATE-----\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(trust))
    assert f"{trust}:{trust}:ro" in container.binds(container.Job(checkout=checkout, arguments=()))
    with tarfile.open(fileobj=container._context(checkout)) as archive:
        assert sorted([*container.INGREDIENTS, "trust.pem"]) == archive.getnames()


def test_unbindable_directory_is_refused(checkout: Path, tmp_path: Path) -> None:
    """A colon separates the parts of a bind, so a path with one is refused before anything runs."""
    job = container.Job(checkout=checkout, arguments=(), writable=(tmp_path / "a:b",))
    with pytest.raises(UsageError, match="cannot be bound"):
        container.binds(job)


def test_everything_a_profile_names_comes_along(tmp_path: Path) -> None:
    """Flags, directories, the build's time and the pass phrase's variable reach the build inside."""
    for name in ("extra", "mirror"):
        (tmp_path / name).mkdir()
    profile = tmp_path / "mine.yaml"
    profile.write_text(
        "extends: vm\noverlays: [{path: extra}]\npki: {authority: {passphrase: {env: PHRASE}}}\n"
    )
    options = Options(
        out=tmp_path / "out",
        vault=tmp_path / "vault",
        lock=ROOT / "sources.lock",
        cache=ROOT / "cache",
        mirror=str(tmp_path / "mirror"),
        node="etcd-1",
        epoch=7,
        environ={"PHRASE": "secret", "OTHER": "stays"},
    )
    job = container.job(resolve(str(profile)), options, checkout=ROOT)
    assert job.arguments == (
        *("build", "--profile", str(profile), "--node", "etcd-1", "--out", f"{tmp_path}/out"),
        *("--vault", f"{tmp_path}/vault", "--mirror", f"{tmp_path}/mirror", "--jobs", str(options.jobs)),
    )
    assert set(job.readable) == {tmp_path, tmp_path / "extra", tmp_path / "mirror"}
    assert set(job.writable) == {tmp_path / "out", tmp_path / "vault", ROOT / "cache"}
    assert job.variables == {"SOURCE_DATE_EPOCH": "7", "PHRASE": "secret"}
    base = tmp_path / "release.tar.gz"
    base.touch()
    whole = replace(options, base=base, zst=True, offline=True)
    imaging = container.job(resolve(str(profile)), whole, checkout=ROOT, images=True)
    assert ("image", *job.arguments[1:], "--base", str(base), "--offline", "--zst") == imaging.arguments
    assert base in imaging.readable


def test_a_profile_elsewhere_brings_what_it_extends(tmp_path: Path) -> None:
    """The directory of a file it extends is bound as well, and that of one it is only a link to."""
    for name in ("mine", "common", "kept"):
        (tmp_path / name).mkdir()
    (tmp_path / "kept/lab.yaml").write_text("extends: ../common/base.yaml\n")
    (tmp_path / "mine/lab.yaml").symlink_to("../kept/lab.yaml")
    (tmp_path / "common/base.yaml").write_text("extends: vm\n")
    (tmp_path / "way").symlink_to("mine")
    options = Options(
        out=tmp_path / "out", vault=tmp_path / "vault", lock=ROOT / "sources.lock", cache=ROOT / "cache"
    )
    job = container.job(resolve(f"{tmp_path}/way/lab.yaml"), options, checkout=ROOT)
    assert job.arguments[:3] == ("build", "--profile", f"{tmp_path}/mine/lab.yaml")
    bound = {path.resolve() for path in job.readable}
    assert {tmp_path / name for name in ("mine", "common", "kept")} == bound


def test_missing_engine_is_named(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an engine the message has the socket that was tried and how to start one; exit code 3."""
    socket = f"unix://{tmp_path}/no.sock"
    monkeypatch.setenv("DOCKER_HOST", socket)
    job = container.Job(checkout=checkout, arguments=())
    with pytest.raises(InputError, match=re.escape(socket)) as caught:
        container.run(job, progress=Silent(), say=lambda _: None)
    assert "systemctl start docker" in str(caught.value)
    assert caught.value.exit_code == 3


def test_image_has_every_package_that_tests_name() -> None:
    """What a test needs is in the builder's image, except an engine and what makes the image itself."""
    named = {
        package
        for folder in ("unit", "cluster", "bench")
        for test in (ROOT / "tests" / folder).rglob("*.py")
        for package in PACKAGE.findall(test.read_text())
    }
    installed = set(
        re.findall(r"^ {6}([a-z0-9.+-]+) \\$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    )
    outside = {"docker.io", "mmdebstrap"}
    assert (named | set(TOOLS.values())) - installed - outside - ESSENTIAL == set()
