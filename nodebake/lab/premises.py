"""What must hold before a machine is started; every failure here has its own message and exit code."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.errors import BuildError, InputError, UsageError
from nodebake.formats.card.layout import MIB
from nodebake.formats.card.ranges import digest
from nodebake.lab.accelerator import emulator
from nodebake.manifest import MANIFEST, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.manifest import Artifact, Manifest
    from nodebake.plan import Plan

_OVERHEAD = 120 * MIB  # QEMU itself, and what TCG translates
_DISK_PER_MACHINE = 600 * MIB
_KINDS = {
    "debian on vm, x86_64": "nocloud",
    "alpine on vm, x86_64": "apkovl",
    "alpine on vm, aarch64": "apkovl",
    "alpine on rpi3, aarch64": "apkovl",
    "debian on rpi3, aarch64": "rootfs",
}
_MEMINFO = Path("/proc/meminfo")


def check_kind(plan: Plan, *, base: Path | None = None) -> None:
    """See to it that the lab has machines of the plan's kind, which boot from `base` if it is given.

    Raises:
        UsageError: it has not.
    """
    machine = plan.profile.machine
    kind = f"{machine.os} on {plan.board.name}, {plan.arch}"
    if _KINDS.get(kind) not in plan.profile.outputs:
        raise UsageError(
            f"the lab cannot boot {plan.name}: {kind}, {', '.join(plan.profile.outputs)}",
            hint=f"it boots {'; '.join(f'{one}, {output}' for one, output in _KINDS.items())}",
        )
    if base and machine.os == "debian":
        raise UsageError(
            f"{plan.name}: --base is a release of Alpine, and its machines boot Debian", hint="leave it out"
        )


def read_manifest(plan: Plan, artefacts: Path) -> Manifest:
    """Return the manifest of a build of `plan`, every artefact of which is as it says.

    Raises:
        UsageError: there is no build of this profile.
        BuildError: it is for other machines, or artefacts are not what the manifest says.
    """
    path, manifest = artefacts / MANIFEST, load(artefacts, plan.name)
    todo = f"run: ./invoke build --profile {plan.name}"
    missing = [node.name for node in plan.nodes if node.name not in manifest.nodes]
    if missing or manifest.cluster != plan.profile.cluster.name:
        raise BuildError(
            f"{path} is not of this profile, or lacks {', '.join(missing) or 'nodes'}", hint=todo
        )
    others = sorted({used.arch for used in manifest.inputs} - {plan.arch})
    if others:
        built = ", ".join(others)
        raise BuildError(f"{path} is of a build for {built}, and the profile is for {plan.arch}", hint=todo)
    broken = [problem for artefact in manifest.artifacts if (problem := _problem(artefacts, artefact))]
    if broken:
        raise BuildError("\n".join(broken), hint=todo)
    return manifest


def check_machine(plan: Plan, work: Path, *, meminfo: Path = _MEMINFO) -> None:
    """See to it that this machine can hold the plan's.

    Raises:
        InputError: there is no emulator for them, or too little memory or disk.
    """
    emulator(plan.arch)
    count = len(plan.nodes)
    wanted, there = count * (plan.memory + _OVERHEAD), _available(meminfo)
    if wanted > there:
        raise InputError(
            f"{count} machines need {wanted // MIB} MiB of memory, and {there // MIB} MiB are free",
            hint="free some, or give the machines less: machine.memory in the profile",
        )
    free, needed = shutil.disk_usage(work).free, count * _DISK_PER_MACHINE
    if needed > free:
        raise InputError(
            f"{count} machines need {needed // MIB} MiB of disk in {work}, and {free // MIB} MiB are free",
            hint="free some, or put the build elsewhere with --out",
        )


@contextmanager
def only_lab(directory: Path) -> Iterator[Path]:
    """Give a directory for the run's disks, empty; refuse while another lab runs there.

    Raises:
        UsageError: another lab of the same name runs.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"a lab is already running in {directory}", hint="wait for it, or use another --out"
            ) from error
        # A name of its own: who cleans up after a lab that was killed must not take the next one's.
        for left in directory.glob("run-*"):
            shutil.rmtree(left, ignore_errors=True)
        work = directory / f"run-{os.getpid()}"
        work.mkdir(0o700)  # disks and initramfs have keys in them
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _available(meminfo: Path) -> int:
    for line in meminfo.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _problem(artefacts: Path, artefact: Artifact) -> str:
    path = artefacts / artefact.path
    try:
        same = digest(path) == artefact.sha256
    except OSError as error:
        return f"{path} is in the manifest and cannot be read: {error.strerror}"
    return "" if same else f"{path} is not what the manifest says"
