"""Build a pinned release from source with Go: the same bytes on every machine, for any architecture.

Modules come through Go's module proxy. The release's own are compared with their `h1:` sums in `sources.lock`
(golang.org/x/mod/sumdb/dirhash, Hash1); everything they depend on is in their go.sum, which Go compares.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nodebake import command
from nodebake.errors import BuildError, InputError
from nodebake.sources import elf
from nodebake.tree import Tree, file, write_tar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.sources.recipe import Module, Recipe

_PATIENCE = 7200  # seconds; a first build on a small machine takes most of an hour
# Where go.dev's own archive is unpacked to (https://go.dev/doc/install).
INSTALLED = "/usr/local/go/bin"
_TARGETS = {
    "x86_64": {"GOARCH": "amd64", "GOAMD64": "v1"},
    "aarch64": {"GOARCH": "arm64", "GOARM64": "v8.0"},
    "armv7": {"GOARCH": "arm", "GOARM": "7"},
}
# Nothing of the build machine: no paths, no build id, no version control, no C.
_FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")
_LINKED = "-s -w -buildid="


def build(recipe: Recipe, arch: str, *, name: str) -> bytes:
    """Return a tar archive of the recipe's programs, built for `arch`.

    Args:
        recipe: what to build.
        arch: of the target: `x86_64`, `aarch64`, `armv7`, or what Go calls another one.
        name: what to call it in messages.

    Raises:
        InputError: there is no Go, a module cannot be had, or is not the pinned one.
        BuildError: it does not compile.
    """
    go = command.find("go", package="golang-go", also=INSTALLED)
    target = _TARGETS.get(arch, {"GOARCH": arch})
    env = target | {"CGO_ENABLED": "0", "GOOS": "linux", "GOWORK": "off", "GOTOOLCHAIN": f"go{recipe.go}"}
    # The pins stand in the place of the public database of sums, which may be out of reach.
    env["GONOSUMDB"] = ",".join(module.path for module in recipe.modules.values())
    with tempfile.TemporaryDirectory(prefix="nodebake-go-") as temporary:
        directory = Path(temporary)
        for place, module in recipe.modules.items():
            _unpack(_module(go, module, env, directory), module, directory / "src" / place)
        for place, lines in recipe.cut.items():
            for line in lines:
                _cut(directory / "src" / place, line)
        programs = {
            program: _compile(go, directory / "src" / place, directory / program, recipe.ldflags, env)
            for program, place in recipe.programs.items()
        }
    for program, content in programs.items():
        if elf.inspect(content, arch, name=program).interpreter:
            raise BuildError(f"{name}: {program} is not static")
    return _packed(programs)


def h1(content: bytes) -> str:
    """Return the `h1:` sum of a module's zip file.

    Raises:
        zipfile.BadZipFile: it is none.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = [
            f"{hashlib.sha256(archive.read(one)).hexdigest()}  {one}\n" for one in sorted(archive.namelist())
        ]
    return f"h1:{base64.b64encode(hashlib.sha256(''.join(lines).encode()).digest()).decode()}"


def _module(go: str, module: Module, env: Mapping[str, str], cwd: Path) -> bytes:
    """Return the zip file of a module, verified."""
    try:
        said = command.run([go, "mod", "download", "-json", str(module)], cwd=cwd, env=env, timeout=_PATIENCE)
        content = Path(json.loads(said)["Zip"]).read_bytes()
        found = h1(content)
    except (BuildError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{module} cannot be had: {error}", hint="can Go reach its module proxy? see go env GOPROXY"
        ) from error
    if found != module.h1:
        raise InputError(
            f"{module} is not what is pinned\n  expected {module.h1}\n  got      {found}",
            hint="do not use it; tell whoever changed sources.lock",
        )
    return content


def _unpack(content: bytes, module: Module, to: Path) -> None:
    """Lay out a module's files; every path in its zip begins with the module's name (go.dev/ref/mod)."""
    prefix = f"{module}/"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            inside = PurePosixPath(name.removeprefix(prefix))
            if not name.startswith(prefix) or ".." in inside.parts:
                raise InputError(f"{module}: has a path that climbs out: {name}")
            path = to / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))


def _cut(path: Path, line: str) -> None:
    """Leave one line out of a source file."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    left = [one for one in lines if one.strip() != line]
    if len(left) != len(lines) - 1:
        raise InputError(f"{path.name} has the line {len(lines) - len(left)} times, not once: {line}")
    path.write_text("".join(left), encoding="utf-8")


def _compile(go: str, package: Path, to: Path, ldflags: str, env: Mapping[str, str]) -> bytes:
    linked = f"-ldflags={_LINKED} {ldflags}".rstrip()
    command.run([go, "build", *_FLAGS, linked, "-o", to, "."], cwd=package, env=env, timeout=_PATIENCE)
    return to.read_bytes()


def _packed(programs: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    write_tar(Tree({name: file(content, 0o755) for name, content in programs.items()}), packed, epoch=0)
    return packed.getvalue()
