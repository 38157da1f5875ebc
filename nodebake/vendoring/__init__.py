"""Every input of every step of a profile in one directory: programs, releases, what is made of packages."""

from __future__ import annotations

import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.bases import alpine, debian
from nodebake.components import chosen
from nodebake.errors import InputError, UsageError
from nodebake.lab import debian as guest
from nodebake.manifest import SUMS
from nodebake.pipeline import imaging
from nodebake.sources import Sources, Want, made
from nodebake.sources.cache import SCRATCH, Cache, digest, in_use
from nodebake.sources.lock import read
from nodebake.sources.vendored import copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nodebake.pipeline import Options
    from nodebake.plan import Plan
    from nodebake.progress import Progress
    from nodebake.sources.lock import Lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendored:
    """What a directory has now.

    Attributes:
        files: how many.
        size: their bytes.
    """

    files: int
    size: int


def vendor(plan: Plan, options: Options, directory: Path, progress: Progress) -> Vendored:
    """Bring every input of `build`, `image` and `boot` for `plan` into `directory`.

    `--offline --mirror DIRECTORY` builds from it, with an empty cache too.

    Raises:
        UsageError: the directory cannot be used.
        InputError: inputs could not be had, each with its reason; the others are there all the same.
        BuildError: an operating system could not be made or packed.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", hint="name one with --out")
    directory.mkdir(parents=True, exist_ok=True)
    options.cache.mkdir(parents=True, exist_ok=True)
    whys = []
    with in_use(options.cache), tempfile.TemporaryDirectory(dir=options.cache, prefix=SCRATCH) as scratch:
        shelf = _Shelf(options, directory, Path(scratch), progress)
        for bring in _steps(plan, options, shelf, progress):
            try:
                bring()
            except InputError as error:
                whys.append(str(error))
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{digest(path)}  {path.relative_to(directory).as_posix()}\n" for path in files]
    (directory / SUMS).write_text("".join(lines), encoding="utf-8")
    if whys:
        raise InputError("\n".join(whys), hint=f"all else is in {directory}")
    return Vendored(files=len(files), size=sum(path.stat().st_size for path in files))


class _Shelf:
    """Fetches with a cache of its own, so that whatever is asked for comes by, and is kept."""

    def __init__(self, options: Options, directory: Path, scratch: Path, progress: Progress) -> None:
        self._options, self._directory, self._progress = options, directory, progress
        self._lock: Lock = read(options.lock)
        self._cache, self._scratch = Cache(options.cache), Cache(scratch)
        self._sources = Sources(
            lock=options.lock,
            cache=scratch,
            mirror=options.mirror,
            progress=progress,
            collect=directory,
        )

    def program(self, want: Want) -> None:
        """Bring what `want` is fetched from: the pinned file, or Debian's packages."""
        self._seed(want)
        fetched = self._sources.fetch(want)
        if fetched.fallback:
            self._progress.note(f"{want}: {fetched.fallback}")
        self._copy(want)

    def release(self, want: Want) -> None:
        """Bring a pinned file as a whole."""
        self._seed(want)
        self._sources.file(want)
        self._copy(want)

    def made(self, home: Path) -> None:
        """Bring what was made in the cache."""
        made.pack(home, self._directory)

    def given(self, file: Path) -> None:
        """Bring a file that the user has."""
        copy(file, self._directory / file.name)

    def _seed(self, want: Want) -> None:
        for pin in self._lock.choices(want):
            if self._cache.has(pin.name, pin.sha256, self._progress):
                copy(self._cache.archive(pin.name), self._scratch.archive(pin.name))

    def _copy(self, want: Want) -> None:
        for pin in self._lock.choices(want):
            if self._scratch.archive(pin.name).exists():
                copy(self._scratch.archive(pin.name), self._directory / pin.name)


def _steps(plan: Plan, options: Options, shelf: _Shelf, progress: Progress) -> Iterator[Callable[[], None]]:
    """Yield what brings the inputs of each step."""
    version = plan.profile.etcd.version
    own = Want(name="etcd", version=version, arch=platform.machine(), files=("etcdctl",))
    theirs = Want(name="etcd", version=version, arch=plan.arch, files=("etcd", "etcdctl"))
    wants = (*(want for component in chosen(plan) for want in component.wants(plan)), theirs, own)
    for want in dict.fromkeys(wants):
        yield lambda want=want: shelf.program(want)  # type: ignore[misc]  # bound now
    yield from _systems(plan, options, shelf, progress)


def _systems(plan: Plan, options: Options, shelf: _Shelf, progress: Progress) -> Iterator[Callable[[], None]]:
    """Yield what brings the operating systems: under images, and under artefacts in the lab."""
    flavour, base = alpine.flavour(plan), options.base
    if plan.profile.machine.os == "alpine":
        kind = flavour or alpine.VIRT  # the lab's, where there are no images
        version = plan.profile.machine.release or plan.board.alpine
        want = Want(name=kind.name, version=version, arch=plan.arch, files=())
        yield lambda: shelf.given(base) if base else shelf.release(want)
    elif plan.board.firmware:
        yield lambda: _debian(plan, options, shelf, progress)
    else:
        yield lambda: _guest(options, shelf, progress)


def _debian(plan: Plan, options: Options, shelf: _Shelf, progress: Progress) -> None:
    archive, bases = imaging.archive(plan, options), options.cache / "bases"
    debian.ready(options.base)
    debian.card(archive, options.base, cache=bases, progress=progress)
    shelf.made(bases / debian.home_of(archive, options.base))


def _guest(options: Options, shelf: _Shelf, progress: Progress) -> None:
    guest.prepare(options.cache, progress, mirror=options.mirror)
    shelf.made(guest.home_in(options.cache))
