"""Inputs for whole builds without a network: a lock file, and a mirror that has what it pins."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.sources import Want
from tests.need import need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nodebake.pipeline import Options

HOST = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
MACHINES = {"x86_64": 62, "aarch64": 183}  # elf.h
WANT = Want(name="etcd", version="3.5.16", arch=HOST, files=("etcd", "etcdctl"))
RELEASE = "etcd-v3.5.16-host"
PROFILE = f"""\
schema: 1
cluster: {{name: edge, domain: edge.example.com}}
machine: {{os: OS, board: vm, arch: {HOST}, data: {{}}}}
network: {{interface: eth0, gateway: [192.168.7.1]}}
nodes:
  - {{name: x-1, address: [192.168.7.11/24]}}
  - {{name: x-2, address: [192.168.7.12/24]}}
  - {{name: x-3, address: [192.168.7.13/24]}}
  - {{name: y-1, address: [192.168.7.21/24], role: client}}
etcd: {{version: 3.5.16}}
outputs: OUTPUTS
"""


def profile(directory: Path, system: str = "debian", outputs: str = "[nocloud, rootfs]") -> str:
    """Write a profile and return its path."""
    path = directory / "edge.yaml"
    path.write_text(PROFILE.replace("OS", system).replace("OUTPUTS", outputs))
    return str(path)


def on_a_pi(directory: Path, system: str = "alpine", outputs: str = "[apkovl]") -> str:
    """Write a profile for Raspberry Pis with small data partitions and return its path."""
    path = profile(directory, system, outputs)
    text = Path(path).read_text().replace(f"vm, arch: {HOST}", "rpi3, arch: aarch64")
    Path(path).write_text(text.replace("data: {}", "data: {size: 16MiB}"))
    return path


def busybox() -> bytes:
    """Return a static program of this machine's architecture."""
    return Path(need("busybox", package="busybox-static")).read_bytes()


def write_lock(
    directory: Path,
    sha256: str,
    url: str,
    *,
    arch: str = HOST,
    debian: str = "http://debian.invalid",
    keyrings: Sequence[str] = ("/dev/null",),
) -> Path:
    """Write a lock file that pins one release of etcd at a server, and knows Debian's archive at another."""
    text = f"""
schema = 1
[etcd]
url = "{url}/rel/v{{version}}/etcd-v{{version}}-{{arch}}.tar.gz"
members = "etcd-v{{version}}-{{arch}}/{{file}}"
files = ["etcd", "etcdctl"]
arches = {{{arch} = "host"}}
releases."3.5.16" = {{sha256.{arch} = "{sha256}", confidence = "C", confirmed = true}}
[debian]
mirror = "{debian}"
suite = "trixie"
component = "main"
runtime = "libc6"
keyrings = {json.dumps(keyrings)}
arches = {{{arch} = "host"}}
[debian.etcd]
etcd = {{package = "etcd-server", member = "usr/bin/etcd"}}
etcdctl = {{package = "etcd-client", member = "usr/bin/etcdctl"}}
"""
    path = directory / "sources.lock"
    path.write_text(text)
    return path


def pin_file(lock: Path, name: str, version: str, content: bytes, *, file: str = "") -> str:
    """Pin a file that is no archive and does not say its version; return the name that a mirror has it by."""
    with lock.open("a") as text:
        text.write(f"""
[{name}]
url = "http://upstream.invalid/v{{version}}/{name}{{arch}}"
files = ["{file or name}"]
arches = {{{HOST} = "-host"}}
[{name}.releases."{version}"]
sha256.{HOST} = "{hashlib.sha256(content).hexdigest()}"
confidence = "C"
confirmed = false
""")
    return f"{name}-{version}-{name}-host"


def mirrored(directory: Path, arch: str = HOST) -> dict[str, Path | str]:
    """Write lock and mirror into `directory`; return the options that name them."""
    program = bytearray(busybox())
    program[18] = MACHINES[arch]  # what its header says is all that is looked at
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("etcd", "etcdctl"):
            member = tarfile.TarInfo(f"{RELEASE}/{name}")
            member.size = len(program) - (name == "etcdctl")  # two programs, not one twice
            archive.addfile(member, io.BytesIO(program))
    content = gzip.compress(packed.getvalue(), compresslevel=1, mtime=0)
    (directory / f"{RELEASE}.tar.gz").write_bytes(content)
    lock = write_lock(directory, hashlib.sha256(content).hexdigest(), "http://etcd.invalid", arch=arch)
    return {"lock": lock, "mirror": str(directory), "cache": directory / "cache"}


def options(directory: Path, **changes: object) -> Options:
    """Return the options of a build of which everything lies in `directory`; `arch` says what for."""
    from nodebake.pipeline import Options  # noqa: PLC0415 - the stamp's tests must not load it

    told = {
        "out": directory / "out",
        "vault": directory / "vault",
        "jobs": 2,
        **mirrored(directory, str(changes.pop("arch", HOST))),
        **changes,
    }
    return Options(**told)  # type: ignore[arg-type]
