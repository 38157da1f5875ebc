"""`./invoke build --in-container` with a Docker engine of the test's own, that is gone afterwards."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import docker
import pytest

from nodebake import command, container
from tests.need import CACHE, ROOT, need, need_root
from tests.unit import release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE = CACHE / "test" / "debian-trixie-minbase.tar"
STAMP = ".nodebake-stamp"  # knows the Python it was made by


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start dockerd with all that it owns below a temporary directory; give its socket."""
    need_root()
    dockerd = need("dockerd", package="docker.io")
    unshare = need("unshare", package="util-linux")
    # A socket's path has at most 107 bytes.
    home = tmp_path_factory.mktemp("e")
    socket = f"unix://{home}/s"
    # What it mounts goes with it.
    argv: list[str | Path] = [
        unshare,
        "--mount",
        dockerd,
        "--data-root",
        home / "data",
        "--exec-root",
        home / "exec",
        "--pidfile",
        home / "pid",
    ]
    flags = ["--host", socket, "--iptables=false", "--ip6tables=false", "--bridge=none"]
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen([*argv, *flags], stdout=log, stderr=log) as daemon,  # noqa: S603 - it must outlive the call
    ):
        try:
            with _connected(socket, home / "log") as client:
                client.api.import_image_from_file(str(_base()), repository="debian", tag="trixie-slim")
            yield socket
        finally:
            daemon.terminate()
            daemon.wait(60)


def _connected(socket: str, log: Path) -> closing[docker.DockerClient]:
    deadline = time.monotonic() + 60
    while "API listen on" not in log.read_text():  # its last word before it serves
        if time.monotonic() > deadline:
            pytest.fail(f"dockerd does not come up:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)
    return closing(docker.DockerClient(base_url=socket))


def _base() -> Path:
    """Return what stands for the image debian:trixie-slim, where no registry can be reached."""
    if not BASE.exists():
        mmdebstrap = need("mmdebstrap", package="mmdebstrap")
        BASE.parent.mkdir(parents=True, exist_ok=True)
        part = BASE.with_suffix(".part.tar")
        command.run([mmdebstrap, "--quiet", "--variant=minbase", "trixie", part])
        part.replace(BASE)
    return BASE


def _build(*flags: str | Path, engine: str = "") -> subprocess.CompletedProcess[str]:
    return _invoke("build", *flags, *(["--in-container"] if engine else []), engine=engine)


def _invoke(*words: str | Path, engine: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    inside = {"DOCKER_HOST": engine} if engine else {}
    return subprocess.run(  # noqa: S603 - the user's own command and environment
        [ROOT / "invoke", *words],
        env=environment | inside,
        capture_output=True,
        text=True,
        check=False,
    )


def _digests(out: Path) -> dict[str, str]:
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and path.name != STAMP)
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("profile", ["pi3", "vm"])
def test_a_container_makes_the_same_bytes(engine: str, profile: str, tmp_path: Path) -> None:
    """The same vault and inputs give identical files in the container and outside, owned by the caller."""
    vault, outside, inside = tmp_path / "vault", tmp_path / "outside", tmp_path / "inside"
    plain = _build("--profile", profile, "--vault", vault, "--out", outside)
    assert plain.returncode == 0, plain.stderr
    boxed = _build("--profile", profile, "--vault", vault, "--out", inside, engine=engine)
    assert boxed.returncode == 0, boxed.stdout + boxed.stderr
    assert _digests(outside) == _digests(inside)
    assert {(os.getuid(), os.getgid())} == {
        (path.stat().st_uid, path.stat().st_gid) for path in inside.rglob("*")
    }


def test_images_are_the_same_in_a_container(engine: str, tmp_path: Path) -> None:
    """A data partition as well, although another e2fsprogs makes it there; `reproduce` compares."""
    for tool, package in (("mcopy", "mtools"), ("mkfs.vfat", "dosfstools"), ("syslinux", "syslinux")):
        need(tool, package=package)
    profile = tmp_path / "mine.yaml"
    profile.write_text("extends: vm-alpine\nnodes: [{name: one, address: 192.168.9.9/24}]\n")
    base = release.iso(tmp_path / "alpine-virt-3.20.3-x86_64.iso", release.VIRT)
    done = _invoke("reproduce", "--profile", profile, "--images", "--base", base, engine=engine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "processors (one), container\n" in done.stdout


def test_a_container_passes_on_what_went_wrong(engine: str, tmp_path: Path) -> None:
    """An error inside keeps its message and its exit code, and no container is left behind."""
    boxed = _build(
        "--profile",
        "pi3",
        "--node",
        "nobody",
        "--vault",
        tmp_path / "v",
        "--out",
        tmp_path / "o",
        engine=engine,
    )
    assert boxed.returncode == 2
    assert "pi3 has no node nobody" in boxed.stdout + boxed.stderr
    with closing(docker.DockerClient(base_url=engine)) as client:
        assert client.containers.list(all=True, filters={"label": container.IMAGE}) == []
        assert [container.tag(ROOT)] == [
            tag for image in client.images.list(container.IMAGE) for tag in image.tags
        ]


def test_a_profile_outside_the_checkout_is_found(engine: str, tmp_path: Path) -> None:
    """A profile by path, and the overlay beside it, are read in the container as well."""
    (tmp_path / "extra" / "etc").mkdir(parents=True)
    (tmp_path / "extra" / "etc" / "motd").write_text("hello\n")
    profile = tmp_path / "mine.yaml"
    profile.write_text("extends: pi3\noverlays: [{path: extra}]\n")
    out = tmp_path / "out"
    boxed = _build("--profile", profile, "--vault", tmp_path / "v", "--out", out, engine=engine)
    assert boxed.returncode == 0, boxed.stdout + boxed.stderr
    overlay = next(out.glob("*/*.apkovl.tar.gz"))
    assert command.run(["tar", "-xzOf", overlay, "etc/motd"]) == b"hello\n"
