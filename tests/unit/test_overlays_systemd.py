"""Promises of the systemd units, judged by systemd itself."""

from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING, Any

from nodebake.command import run
from tests.components import KEY, baked, plan_of, text
from tests.need import need

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.tree import Tree

CHANGES: dict[str, Any] = {
    "machine": {"os": "debian", "board": "vm", "data": {}},
    "outputs": ["rootfs"],
    "access": {"users": [{"name": "ada", "ssh_authorized_keys": [KEY], "groups": ["sudo"]}]},
    "firewall": {},
}


def _root(tree: Tree, root: Path) -> Path:
    for path, entry in tree.items():
        to = root / path
        if stat.S_ISDIR(entry.mode):
            to.mkdir(parents=True, exist_ok=True)
        elif stat.S_ISLNK(entry.mode):
            to.symlink_to(entry.content.decode())
        else:
            to.write_bytes(entry.content)
            to.chmod(stat.S_IMODE(entry.mode))
    # Programs of the target that the units call.
    for name in ("systemd-sysusers", "systemd-tmpfiles", "nft"):
        (root / "usr/bin").mkdir(exist_ok=True)
        (root / "usr/bin" / name).write_text("#!/bin/sh\n")
        (root / "usr/bin" / name).chmod(0o755)
    return root


def test_units_pass_systemds_own_check(tmp_path: Path) -> None:
    """systemd-analyze verify finds no unknown key, no bad value and no missing program."""
    analyze = need("systemd-analyze", package="systemd")
    root = _root(baked(plan_of(tmp_path, **CHANGES)), tmp_path / "root")
    shutil.copytree("/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    units = ["etcd.service", "nodebake-accounts.service", "nodebake-firewall.service", "data.mount"]
    options = [f"--root={root}", "--recursive-errors=one", "--man=no"]
    run([analyze, "verify", *options, *(root / "etc/systemd/system" / unit for unit in units)])


def test_member_may_wait_for_ever_and_is_always_restarted(tmp_path: Path) -> None:
    """READY comes only with a quorum, so starting has no time limit; restarts have no limit either."""
    lines = text(baked(plan_of(tmp_path, **CHANGES)), "etc/systemd/system/etcd.service").splitlines()
    expected = {
        "Type=notify",
        "TimeoutStartSec=infinity",
        "Restart=always",
        "RestartSec=5",
        "StartLimitIntervalSec=0",
        "LimitNOFILE=65536",
        "OOMScoreAdjust=-900",
        f"Environment=GOMEMLIMIT={768 << 20}",
        "ReadWritePaths=-/data/etcd",
        "After=network.target nodebake-accounts.service data.mount",
        "ExecStartPre=+/usr/local/lib/nodebake/etcd-prepare",
        "ExecStart=/usr/local/bin/etcd --config-file=/etc/etcd/conf.yml",
    }
    assert expected <= set(lines)


def test_units_are_enabled(tmp_path: Path) -> None:
    """Nobody has to run systemctl enable."""
    tree = baked(plan_of(tmp_path, **CHANGES))
    wants = "etc/systemd/system/multi-user.target.wants"
    expected = {
        f"{wants}/{unit}"
        for unit in ("data.mount", "etcd.service", "nodebake-accounts.service", "systemd-networkd.service")
    }
    assert expected == {path for path in tree if path.startswith(f"{wants}/")}


def test_accounts_are_what_sysusers_takes(tmp_path: Path) -> None:
    """systemd-sysusers and systemd-tmpfiles read our files as they are meant."""
    sysusers = need("systemd-sysusers", package="systemd")
    root = _root(baked(plan_of(tmp_path, **CHANGES)), tmp_path / "root")
    run([sysusers, f"--root={root}"])
    passwd = dict(line.split(":", 1) for line in (root / "etc/passwd").read_text().splitlines())
    assert passwd["etcd"].startswith("x:2379:2379:etcd:/:")
    assert passwd["ada"] == "x:1500:1500:ada:/home/ada:/bin/bash"
    run([need("systemd-tmpfiles", package="systemd"), f"--root={root}", "--create", "--prefix=/home"])
    assert str((root / "home/ada/.ssh/authorized_keys").readlink()) == "/etc/nodebake/authorized_keys/ada"
