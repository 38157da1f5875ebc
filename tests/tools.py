"""The native tools the tests and the linters ask for, and how to come by them."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from nodebake import command
from nodebake.errors import BuildError
from nodebake.sources import golang

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.progress import Progress

TOOLS = {
    "age": "age",
    "ar": "binutils",
    "blkid": "util-linux",
    "bmaptool": "bmap-tools",
    "busybox": "busybox-static",
    "cfssl": "golang-cfssl",
    "cloud-init": "cloud-init",
    "cloud-localds": "cloud-image-utils",
    "curl": "curl",
    "depmod": "kmod",
    "diffoscope": "diffoscope-minimal",
    "docker-registry": "docker-registry",
    "dmsetup": "dmsetup",
    "dockerd": "docker.io",
    "envsubst": "gettext-base",
    "faketime": "faketime",
    "fdtget": "device-tree-compiler",
    "genimage": "genimage",
    "go": "golang-go",
    "gpg": "gpg",
    "gpgv": "gpgv",
    "ip": "iproute2",
    "iptables": "iptables",
    "isoinfo": "genisoimage",
    "linux.uml": "user-mode-linux",
    "kubectl": "kubernetes-client",
    "fsck.fat": "dosfstools",
    "mcopy": "mtools",
    "mke2fs": "e2fsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.xfs": "xfsprogs",
    "mksquashfs": "squashfs-tools",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "openrc-run": "openrc",
    "openssl": "openssl",
    "patchelf": "patchelf",
    "ping": "iputils-ping",
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-img": "qemu-utils",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-x86_64": "qemu-system-x86",
    "script": "bsdutils",
    "setpriv": "util-linux",
    "sfdisk": "fdisk",
    "shellcheck": "shellcheck",
    "skopeo": "skopeo",
    "sqv": "sqv",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "syslinux": "syslinux",
    "systemd-analyze": "systemd",
    "tar": "tar",
    "umount": "mount",
    "unshare": "util-linux",
    "update-binfmts": "binfmt-support",
    "xorriso": "xorriso",
    "zstd": "zstd",
}
"""Debian packages by the tool each has."""
TOGETHER = ("cluster", "unit")
"""Tests that run beside each other, and often wait; the others measure, or start machines, and run alone."""


def provide(progress: Progress) -> None:
    """Name the tools that are missing, and install them where that is possible: as root on Debian.

    Raises:
        BuildError: apt-get could not install them.
    """
    places = f"{command.PATH}:{golang.INSTALLED}"
    missing = {tool: package for tool, package in TOOLS.items() if not shutil.which(tool, path=places)}
    if not missing:
        return
    packages = sorted(set(missing.values()))
    progress.note(f"not installed: {', '.join(missing)}")
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or not shutil.which("apt-get", path=command.PATH):
        progress.note(f"tests that need them are skipped; to install them, as root: {' '.join(install)}")
        return
    task = f"installing {' '.join(packages)}"
    progress.start(task)
    command.run(["apt-get", "update"], timeout=1800)
    command.run(install, env={"DEBIAN_FRONTEND": "noninteractive"}, timeout=1800)
    progress.finish(task)


def play(tests: Path, only: str) -> int:
    """Run every test whose name matches `only`, and return pytest's exit code."""
    folders = [str(tests / name) for name in TOGETHER]
    ends = {
        pytest.main([*folders, "-k", only, "--numprocesses=3", "--dist=loadfile", "--no-loadscope-reorder"]),
        pytest.main([str(tests), "-k", only, *(f"--ignore={folder}" for folder in folders)]),
    }
    return max(ends - {pytest.ExitCode.NO_TESTS_COLLECTED}, default=pytest.ExitCode.NO_TESTS_COLLECTED)


def lint(checkout: Path, progress: Progress) -> None:
    """Run every linter over the checkout.

    Raises:
        BuildError: with what each of them complained about.
    """
    complaints = []
    for argv in _linters(checkout):
        task = argv[0].rpartition("/")[2]
        progress.start(task)
        try:
            command.run(argv, cwd=checkout)
        except BuildError as error:
            complaints.append(str(error))
        progress.finish(task)
    if complaints:
        raise BuildError("\n".join(complaints))


def _linters(checkout: Path) -> list[list[str]]:
    here = os.path.dirname(sys.executable)  # noqa: PTH120 - not resolved: the environment's own tools
    scripts = [str(path) for path in _scripts(checkout)]
    return [
        [f"{here}/ruff", "check", "--output-format=concise"],
        [f"{here}/ruff", "format", "--check"],
        [f"{here}/mypy"],
        [f"{here}/lint-imports"],
        [command.find("shellcheck", package="shellcheck"), "--shell=sh", *scripts],
    ]


def _scripts(checkout: Path) -> list[Path]:
    """Return every POSIX shell script; templates are checked as they come out, by the tests."""
    folders = ("overlays", ".ci", "tests")
    files = [checkout / "invoke", *(path for name in folders for path in (checkout / name).rglob("*"))]
    return sorted(path for path in files if path.is_file() and path.suffix != ".j2" and _is_script(path))


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().strip() in {b"#!/bin/sh", b"#!/usr/bin/env sh"}
