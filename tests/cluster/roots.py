"""Root file systems for the machines: Alpine's own, or as much of Debian as a unit needs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import run
from tests.need import missing, need, shared

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
MINIROOTFS = "alpine-minirootfs-3.20.3-{}.tar.gz"
DEBIAN_TOOLS = {
    "dash": "dash",
    "tar": "tar",
    "zstd": "zstd",
    "systemd-sysusers": "systemd",
    "systemd-tmpfiles": "systemd",
    "ldconfig": "libc-bin",  # brings the C library and its loader, as every Debian has them
    "env": "coreutils",
    "getent": "libc-bin",
    "nft": "nftables",
    "flock": "util-linux",
}
OPENRC_STATES = (
    *("daemons", "exclusive", "failed", "inactive", "options", "scheduled"),
    *("started", "starting", "stopping", "tmp", "wasinactive"),
)
PAM = "account required pam_permit.so\nsession required pam_permit.so\nauth required pam_permit.so\n"
ANSWERS = Path("/proc/sys/fs/binfmt_misc")


def alpine(root: Path, arch: str) -> None:
    """Unpack Alpine's minirootfs for `arch` into `root` and add Debian's OpenRC, with its own C library.

    Alpine's OpenRC is a package of its own, and not there without a network. OpenRC's scripts run under
    Alpine's busybox all the same; its programs bring glibc's loader, which musl does not mind.
    """
    openrc = need("openrc-run", package="openrc")
    root.mkdir(parents=True)
    run(["tar", "-C", root, "-xzf", shared(MINIROOTFS.format(arch))])
    owned = run(["dpkg", "-L", "openrc", "librc1", "libeinfo1"]).decode().split()
    for name in owned:
        if name.startswith(("/lib/rc/", "/sbin/")) and Path(name).is_file():
            carry(Path(name), root)
    permit = next(Path("/lib").glob("*-linux-gnu/security/pam_permit.so"))
    carry(permit, root)
    programs = (openrc, "/sbin/supervise-daemon", "/lib/rc/bin/checkpath", permit)
    carry_libraries([Path(name) for name in programs], root)
    (root / "etc" / "pam.d").mkdir()
    (root / "etc" / "pam.d" / "other").write_text(PAM)
    # What a boot would have left behind: OpenRC starts nothing on a system that it did not boot.
    for state in OPENRC_STATES:
        (root / "run" / "openrc" / state).mkdir(parents=True)
    (root / "run" / "openrc" / "softlevel").write_text("default\n")


def debian(root: Path) -> None:
    """Make a root of busybox and those tools of the host that the payload's scripts call.

    There is no systemd in it: `systemctl` only writes down what it was asked.
    """
    busybox = need("busybox", package="busybox-static")
    for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "root", "run", "tmp", "var/lib"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    shutil.copy(busybox, root / "usr/bin/busybox")
    for applet in run([busybox, "--list"]).decode().split():
        if applet not in {"busybox", "sh"}:
            (root / "usr/bin" / applet).symlink_to("busybox")
    # busybox's shell would take its own tar for the one in the path.
    (root / "usr/bin/sh").symlink_to("dash")
    tools: list[Path] = []
    for tool, package in DEBIAN_TOOLS.items():
        (root / "usr/bin" / tool).unlink(missing_ok=True)
        tools.append(Path(need(tool, package=package)))
        carry(tools[-1], root)
    carry_libraries(tools, root)
    for silent in ("systemctl", "sync"):  # a machine that is thrown away need not wait for a disk
        (root / "usr/bin" / silent).unlink(missing_ok=True)
        shutil.copy(HERE / "systemctl", root / "usr/bin" / silent)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/os-release").write_text("ID=debian\n")


def carry(path: Path, root: Path) -> None:
    """Copy one file of the host to the same place in `root`."""
    target = root / str(path).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def carry_libraries(programs: Iterable[Path], root: Path) -> None:
    """Copy the loader and the libraries that dynamic programs or libraries of the host name."""
    named = {word for word in run(["ldd", *programs]).decode().split() if word.startswith("/")}
    for word in sorted(named):
        if not word.endswith(":"):  # ldd's heading
            carry(Path(word), root)


def emulate_aarch64() -> None:
    """Let the kernel run aarch64 programs in any root, or skip the test.

    The registration (binfmt_misc, flag F) is what the package qemu-user-static makes on every machine
    where it can, so it stays.
    """
    if run(["uname", "-m"]).strip() == b"aarch64":
        return
    need("qemu-aarch64-static", package="qemu-user-static")
    binfmts = need("update-binfmts", package="binfmt-support")
    if not (ANSWERS / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", ANSWERS])
    if not (ANSWERS / "qemu-aarch64").exists():
        run([binfmts, "--enable", "qemu-aarch64"])
    if not (ANSWERS / "qemu-aarch64").exists():
        missing("aarch64 programs do not run here: update-binfmts --enable qemu-aarch64 did nothing")
