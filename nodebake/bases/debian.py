"""Debian for a Raspberry Pi: kernel, firmware and systemd, made once by mmdebstrap and kept.

The boot partition has what Debian's own raspi-firmware puts into /boot/firmware, and the root all the rest.
Under emulation every program that a package starts costs, so there are few packages, no documentation, and
one initramfs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError, InputError
from nodebake.formats.card import BOOT, Card, Made, boot_size, ext4, fat
from nodebake.formats.card.layout import MIB, up
from nodebake.manifest import UsedInput
from nodebake.overlay import render
from nodebake.sources import made
from nodebake.sources.cache import SCRATCH, Cache, digest, intact, remember, sound
from nodebake.tree import Tree, file, merge, write_tar

if TYPE_CHECKING:
    from nodebake.progress import Progress

_ROOT = "ROOT"
_IMAGES = ("boot.fat", "root.ext4")
_FIRMWARE = "boot/firmware"
# What systemd, a network, SSH and a data partition need; mmdebstrap's minbase has apt besides.
_PACKAGES = (
    *("systemd-sysv", "systemd-timesyncd", "dbus", "udev", "kmod", "linux-image-arm64", "initramfs-tools"),
    *("raspi-firmware", "dosfstools", "e2fsprogs", "fdisk", "iproute2", "openssh-server", "zstd"),
)
_COMPONENTS = "main,non-free-firmware"
# Of the documentation the copyright stays: whoever gives programs on has to give their licences along.
_WITHOUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
_WITH = "/usr/share/doc/*/copyright"
_EPOCH = 1_735_689_600  # 2025, of every file; a node's clock starts from its own files
# Room on the root besides what is there, and for a second kernel on the boot partition.
_FREE, _KERNEL = 512 * MIB, 80 * MIB
_HOURS = 2 * 3600
_BLOCK = 4096
# Counts up when the same packages would become other bytes here.
_MADE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Debian's archive, as the lock file has it, and what is wanted of it.

    Attributes:
        mirror: its URL.
        suite: the code name.
        keyrings: files with the keys to trust; the first that exists counts.
        packages: besides those that every node has.
        vendored: a directory that may have what is made of them.
        offline: whether the network is never asked.
    """

    mirror: str
    suite: str
    keyrings: tuple[str, ...]
    packages: tuple[str, ...]
    vendored: str | None = None
    offline: bool = False


def card(archive: Archive, given: Path | None, *, cache: Path, progress: Progress) -> tuple[Card, UsedInput]:
    """Return boot partition and root, from the cache if they were made before, and what they are made of.

    Args:
        archive: where packages come from.
        given: a root's archive that mmdebstrap made elsewhere, to be taken as it is.
        cache: a directory for what was made.
        progress: is told, as it takes minutes.

    Raises:
        InputError: Debian's archive could not be reached, or what was given is no such root.
        BuildError: the partitions could not be made.
        OSError: as writing does.
    """
    home = cache / home_of(archive, given)
    if not all(intact(home / name) for name in _IMAGES):
        cache.mkdir(parents=True, exist_ok=True)
        with Cache(cache.parent).locked(home.name):
            if not _whole(home, progress) and not made.unpack(home, archive.vendored):
                _make(home, archive, given, progress)
    boot, root = (home / name for name in _IMAGES)
    names = frozenset((home / "names").read_text(encoding="utf-8").split("\n"))
    ground = Card(
        boot=Made(image=boot, ranges=fat.used(boot)),
        root=Made(image=root, ranges=ext4.used(root), names=names),
    )
    return ground, UsedInput(**json.loads((home / "used.json").read_text(encoding="utf-8")))


def _make(home: Path, archive: Archive, given: Path | None, progress: Progress) -> None:
    if archive.offline and not given:
        raise made.needed(f"Debian {archive.suite} for the Raspberry Pi")
    task = f"making Debian {archive.suite} for the Raspberry Pi (once)"
    progress.start(task)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=SCRATCH) as scratch:
        root = given or _bootstrap(archive, Path(scratch))
        _partitions(root, Path(scratch), archive)
        (Path(scratch) / "made").replace(home)
    for name in _IMAGES:
        remember(home / name)
    progress.finish(task)


def _whole(home: Path, progress: Progress) -> bool:
    """Tell whether what was made is there and as it was made; otherwise nothing is left of it."""
    if not home.exists() or all(sound(home / name, progress) for name in _IMAGES):
        return home.exists()
    shutil.rmtree(home)
    return False


def ready(given: Path | None) -> None:
    """See that every tool is there that a root is made with, or is taken apart with when it is given.

    Raises:
        InputError: one is not installed.
    """
    tools = {"debugfs": "e2fsprogs"}
    if os.geteuid() != 0:
        tools["fakeroot"] = "fakeroot"
    if not given:
        tools["mmdebstrap"] = "mmdebstrap"
        if os.geteuid() != 0:
            tools["newuidmap"] = "uidmap"
        if os.uname().machine != "aarch64":
            tools |= {"arch-test": "arch-test", "qemu-aarch64-static": "qemu-user-static"}
    for tool, package in tools.items():
        find(tool, package=package)


def home_of(archive: Archive, given: Path | None) -> str:
    """Return the name of the directory with what is made, which all that decides it is in."""
    if given:
        told = digest(given)
    else:
        files = [(path, entry.content.decode()) for path, entry in merge(_seed(), _settings()).items()]
        wanted = asdict(archive)
        del wanted["vendored"], wanted["offline"]
        told = json.dumps([wanted, _PACKAGES, _WITHOUT, _WITH, files])
    return "debian-" + hashlib.sha256(f"{_MADE} {told}".encode()).hexdigest()[:32]


def _seed() -> Tree:
    """Return what must be there before the packages are."""
    return render("debian", ("seed",), {})


def _settings() -> Tree:
    """Return what every node has; an empty machine-id is one to be made at the first boot."""
    return merge(render("debian", ("card",), {"boot": BOOT}), Tree({"etc/machine-id": file(b"")}))


def _bootstrap(archive: Archive, scratch: Path) -> Path:
    root = scratch / "root.tar"
    for name, tree in (("seed.tar", _seed()), ("settings.tar", _settings())):
        with (scratch / name).open("wb") as to:
            write_tar(tree, to, epoch=_EPOCH)
    keyring = next((path for path in archive.keyrings if Path(path).exists()), "")
    argv: list[str | Path] = [
        *(find("mmdebstrap", package="mmdebstrap"), "--quiet", "--architectures=arm64", "--variant=minbase"),
        *(f"--components={_COMPONENTS}", f"--include={','.join((*_PACKAGES, *archive.packages))}"),
        *(f"--keyring={keyring}" for _ in range(bool(keyring))),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _WITHOUT),
        f"--dpkgopt=path-include={_WITH}",
        *("--dpkgopt=force-confold", "--dpkgopt=force-unsafe-io", "--skip=output/dev"),
        *('--aptopt=Acquire::Languages "none"', '--aptopt=APT::Install-Recommends "false"'),
        f"--essential-hook=tar-in {scratch / 'seed.tar'} /",
        f"--customize-hook=tar-in {scratch / 'settings.tar'} /",
        # Keys of a server that all nodes would share.
        '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_*',
        *(archive.suite, root, archive.mirror),
    ]
    try:
        run(argv, env={"SOURCE_DATE_EPOCH": str(_EPOCH)}, timeout=_HOURS)
    except BuildError as error:
        raise InputError(
            f"Debian {archive.suite} for the Raspberry Pi could not be made: {error}",
            hint=f"is {archive.mirror} reachable? --base takes a root that mmdebstrap made elsewhere",
        ) from error
    return root


def _partitions(archive: Path, scratch: Path, told: Archive) -> None:
    """Make both file systems of a root's archive, and note what is in it, in the directory `made`."""
    made, root, state = scratch / "made", scratch / "root", scratch / "owners"
    made.mkdir()
    root.mkdir()
    # Without root, fakeroot(1) remembers who owns what.
    fake: list[str | Path] = [] if os.geteuid() == 0 else [find("fakeroot", package="fakeroot")]
    saving: list[str | Path] = [*fake, "-s", state, "--"] if fake else []
    run([*saving, "tar", "-C", root, "--numeric-owner", "-xpf", archive], timeout=_HOURS)
    devices = root / "dev"  # mmdebstrap leaves it out with what is in it, and no system starts without
    devices.mkdir(exist_ok=True)
    devices.chmod(0o755)
    _boot(root / _FIRMWARE, made / "boot.fat", archive.name)
    paths = list(root.rglob("*"))
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    (made / "names").write_text("\n".join(names), encoding="utf-8")
    for directory in (root, *(path for path in paths if path.is_dir() and not path.is_symlink())):
        os.utime(directory, (_EPOCH, _EPOCH))  # otherwise the time of unpacking
    content = sum(up(path.lstat().st_size, _BLOCK) for path in paths)
    size = up(content * 11 // 10 + _FREE, 4 * MIB)
    with (made / "root.ext4").open("xb") as image:
        image.truncate(size)
    loading: list[str | Path] = [*fake, "-i", state, "--"] if fake else []
    ext4.of_directory(made / "root.ext4", root, size, label=_ROOT, epoch=_EPOCH, prefix=loading)
    used = UsedInput(
        name="debian",
        version=(root / "etc/debian_version").read_text(encoding="utf-8").strip(),
        arch="aarch64",
        source=f"{told.mirror} {told.suite}",
        sha256=digest(archive),
    )
    (made / "used.json").write_text(json.dumps(asdict(used)), encoding="utf-8")


def _boot(firmware: Path, image: Path, name: str) -> None:
    """Move what is in /boot/firmware onto a partition."""
    files = {path.relative_to(firmware).as_posix(): path for path in firmware.rglob("*") if path.is_file()}
    if not {"config.txt", "cmdline.txt"} <= set(files):
        raise InputError(
            f"{name} is no root for a Raspberry Pi: /{_FIRMWARE} has no config.txt or no cmdline.txt",
            hint="raspi-firmware writes them when a kernel is installed",
        )
    size = sum(up(path.stat().st_size, fat.LARGEST_CLUSTER) for path in files.values())
    fat.make(image, boot_size(size, _KERNEL), label=BOOT)
    fat.fill(image, files, epoch=_EPOCH)
    for path in firmware.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
