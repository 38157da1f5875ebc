"""Builds from source: only what is pinned goes in, the same bytes come out, on any machine for any other."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from nodebake import command
from nodebake.command import run
from nodebake.errors import BuildError, InputError
from nodebake.progress import Silent
from nodebake.sources import Sources, Want, golang
from tests.need import need_go

MODULE, VERSION = "example.org/hello", "1.2.3"
MAIN = """package main

var version = "unknown"

func main() {
	println("hello", version)
}

var left = "in" // cut me
"""
LOCK = """
schema = 1
[hello]
url = "http://nowhere.invalid/hello-{{version}}-{{arch}}"
files = ["hello"]
arches = {{}}
[hello.go]
programs = {{hello = "cmd"}}
modules = {{"." = "example.org/hello"}}
ldflags = "-X main.version=v{{version}}"
[hello.releases."1.2.3".built]
go = "{go}"
modules = {{"." = "{h1}"}}
sha256 = {{{sha256}}}
[debian]
mirror = "http://debian.invalid"
suite = "trixie"
component = "main"
runtime = "libc6"
keyrings = ["/dev/null"]
arches = {{}}
"""


def _archive() -> bytes:
    """Return the module's zip file, as a proxy has it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in {"go.mod": f"module {MODULE}\n\ngo 1.21\n", "cmd/main.go": MAIN}.items():
            archive.writestr(f"{MODULE}@v{VERSION}/{name}", text)
    return packed.getvalue()


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return Go's own version, with a proxy on disk that has one module and a home that names it."""
    program = need_go()
    cache = run([program, "env", "GOCACHE"]).decode().strip()
    proxy = tmp_path / "proxy" / MODULE / "@v"
    proxy.mkdir(parents=True)
    (proxy / f"v{VERSION}.zip").write_bytes(_archive())
    (proxy / f"v{VERSION}.mod").write_text(f"module {MODULE}\n\ngo 1.21\n")
    (proxy / f"v{VERSION}.info").write_text(json.dumps({"Version": f"v{VERSION}"}))
    settings = tmp_path / "home/.config/go/env"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f"GOPROXY=file://{tmp_path}/proxy\nGOCACHE={cache}\nGOFLAGS=-modcacherw\nGOTOOLCHAIN=local\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return run([program, "env", "GOVERSION"]).decode().strip().removeprefix("go")


def _sources(directory: Path, go: str, *, h1: str = "", **sha256: str) -> Sources:
    sums = ", ".join(f'{arch} = "{value}"' for arch, value in sha256.items())
    lock = directory / "sources.lock"
    lock.write_text(LOCK.format(go=go, h1=h1 or golang.h1(_archive()), sha256=sums))
    return Sources(lock=lock, cache=directory / "cache", progress=Silent())


def _sum(sources: Sources, arch: str) -> str:
    """Build what has no pin yet, and return the digest that the message offers."""
    with pytest.raises(InputError, match=r"was built, but is not pinned in sources\.lock") as refused:
        sources.build("hello", arch=arch)
    return str(refused.value).rpartition('= "')[2].rstrip('"')


def test_sum_of_a_module_is_the_one_go_computes(go: str, tmp_path: Path) -> None:
    """The pins are in Go's own terms: what `go mod download` prints is what we compare with."""
    assert go
    said = json.loads(
        run(
            [need_go(), "mod", "download", "-json", f"{MODULE}@v{VERSION}"],
            cwd=tmp_path,
            env={"GONOSUMDB": "*"},
        )
    )
    assert golang.h1(Path(said["Zip"]).read_bytes()) == said["Sum"]


@pytest.mark.parametrize(
    ("arch", "machine"),
    [("x86_64", "EM_X86_64"), ("aarch64", "EM_AARCH64"), ("armv7", "EM_ARM"), ("riscv64", "EM_RISCV")],
)
def test_program_is_static_and_for_the_architecture_asked(
    go: str, tmp_path: Path, arch: str, machine: str
) -> None:
    """Any architecture that Go knows, from any machine; no loader, no build id, no path of ours."""
    digest = _sum(_sources(tmp_path, go), arch)
    sources = _sources(tmp_path, go, **{arch: digest})
    archive = Path(sources.build("hello", arch=arch).partition(": ")[2])
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest
    with tarfile.open(archive) as tar:
        (member,) = tar.getmembers()
        content = tar.extractfile(member)
        assert content is not None
        program = content.read()
    elf = ELFFile(io.BytesIO(program))
    assert elf["e_machine"] == machine
    assert elf.get_section_by_name(".interp") is None
    assert not any(word in program for word in (b"nodebake", str(tmp_path).encode()))


def test_build_is_the_same_in_another_place_at_another_time(
    go: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the machine is in it: another home, another cache, another temporary directory."""
    first = _sum(_sources(tmp_path, go), platform.machine())
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "home/.config", other / "home/.config")
    settings = other / "home/.config/go/env"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("GOCACHE")]
    settings.write_text("\n".join([*lines, f"GOCACHE={other}/fresh"]))
    monkeypatch.setenv("HOME", str(other / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(other))
    assert first == _sum(_sources(tmp_path, go), platform.machine())


def test_what_was_built_is_had_without_any_source(go: str, tmp_path: Path) -> None:
    """Once built it is in the cache as a download would be, verified by its own pin; and it runs."""
    arch = platform.machine()
    sources = _sources(tmp_path, go, **{arch: _sum(_sources(tmp_path, go), arch)})
    sources.build("hello", arch=arch)
    fetched = sources.fetch(Want(name="hello", version=VERSION, arch=arch, files=("hello",)))
    program = tmp_path / "hello"
    program.write_bytes(fetched.files["hello"])
    program.chmod(0o755)
    assert run(["sh", "-c", '"$0" 2>&1', program]) == b"hello v1.2.3\n"
    (used,) = fetched.used
    assert used.source == f"go:{MODULE}@v{VERSION}/hello-{VERSION}-{arch}-go{go}.tar"
    assert (fetched.linking, fetched.fallback) == ("static", "")


def test_not_built_and_not_to_be_had_says_how_to_build_it(go: str, tmp_path: Path) -> None:
    """An input that can be built is missing: the message has the command."""
    sources = _sources(tmp_path, go, aarch64="0" * 64)
    wanted = r"\./invoke sources\.build hello --version 1\.2\.3 --arch aarch64"
    with pytest.raises(InputError, match=wanted):
        sources.fetch(Want(name="hello", version=VERSION, arch="aarch64", files=("hello",)))


def test_another_source_than_the_pinned_one_is_refused(go: str, tmp_path: Path) -> None:
    """A module whose sum is not the pinned one is not compiled."""
    with pytest.raises(InputError, match=r"example\.org/hello@v1\.2\.3 is not what is pinned"):
        _sources(tmp_path, go, h1="h1:" + "A" * 43 + "=").build("hello", arch="x86_64")


def test_another_result_than_the_pinned_one_is_refused(go: str, tmp_path: Path) -> None:
    """A build that differs from its pin does not get into the cache."""
    with pytest.raises(InputError, match="sha256 does not match"):
        _sources(tmp_path, go, x86_64="0" * 64).build("hello", arch="x86_64")
    assert not list((tmp_path / "cache").rglob("*.tar"))


def test_a_line_is_cut_once_or_not_at_all(tmp_path: Path) -> None:
    """A line to leave out that is not there, or twice, means another source than was thought of."""
    source = tmp_path / "main.go"
    source.write_text("a\n\tb\nc\n")
    golang._cut(source, "b")
    assert source.read_text() == "a\nc\n"
    with pytest.raises(InputError, match="0 times, not once"):
        golang._cut(source, "b")


def test_what_does_not_compile_shows_the_compilers_words(go: str, tmp_path: Path) -> None:
    """A failed compilation is a failed build, with a command that can be pasted."""
    with pytest.raises(BuildError, match="go build"):
        _sources(tmp_path, go).build("hello", arch="not-an-architecture")


def test_without_go_the_message_says_what_to_install(
    go: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go is an input of the build that has to be there first."""
    monkeypatch.setattr(command, "PATH", "/nonexistent")
    monkeypatch.setattr(golang, "INSTALLED", "/nonexistent")
    with pytest.raises(InputError, match=r"go is not installed(?s:.*)apt-get install --yes golang-go"):
        _sources(tmp_path, go).build("hello", arch="x86_64")


def test_a_release_without_a_recipe_names_those_that_have_one(go: str, tmp_path: Path) -> None:
    """The user can choose from the message."""
    with pytest.raises(InputError, match=r"how to build hello 9\.9\.9(?s:.*)hello 1\.2\.3"):
        _sources(tmp_path, go).build("hello", version="9.9.9", arch="x86_64")
