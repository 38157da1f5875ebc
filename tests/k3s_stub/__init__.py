"""A program in the place of k3s, whose binary is not to be had everywhere; see `main.go` for what it does."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from nodebake.command import run
from tests.need import ROOT, need_go

RELEASE = "1.31.99+k3s1"  # one that nobody made, so that no build takes the stub for the real one
VERSION = f"v{RELEASE}"
_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_PROGRAM = {"x86_64": "k3s", "aarch64": "k3s-arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stubbed:
    """A lock file that pins the stub as a release of k3s, and a mirror that has it."""

    lock: Path
    mirror: str


def stubbed(directory: Path, arch: str = platform.machine()) -> Stubbed:
    """Write both into `directory`."""
    pins = {"k3s": (_PROGRAM[arch], program(arch)), "k3s-images": (_images(arch), b"no images")}
    text = (ROOT / "sources.lock").read_text(encoding="utf-8")
    mirror = directory / "mirror"
    mirror.mkdir()
    for name, (file, content) in pins.items():
        text += f'\n[{name}.releases."{RELEASE}"]\nsha256.{arch} = "{hashlib.sha256(content).hexdigest()}"\n'
        text += 'confidence = "A"\nconfirmed = true\n'
        (mirror / f"{name}-{RELEASE}-{file}").write_bytes(content)
    (directory / "sources.lock").write_text(text, encoding="utf-8")
    return Stubbed(lock=directory / "sources.lock", mirror=str(mirror))


@cache
def program(arch: str = platform.machine()) -> bytes:
    """Return the stub, built with Go from nothing but its standard library; skip the test without Go."""
    with TemporaryDirectory() as home:
        made = Path(home) / "k3s-stub"
        settings = {"GOOS": "linux", "GOARCH": _ARCH[arch], "CGO_ENABLED": "0", "GO111MODULE": "off"}
        settings |= {"GOTOOLCHAIN": "local", "GOFLAGS": "-trimpath"}
        words: list[str | Path] = [
            need_go(),
            "build",
            "-ldflags=-s -w",
            "-o",
            made,
            Path(__file__).with_name("main.go"),
        ]
        run(words, env=settings, timeout=600)
        return made.read_bytes()


def _images(arch: str) -> str:
    return f"k3s-airgap-images-{_ARCH[arch]}.tar.zst"
