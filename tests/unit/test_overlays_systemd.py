"""Promises of the systemd units, judged by systemd itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from nodebake.command import run
from nodebake.formats.card.layout import MIB
from nodebake.tree import merge
from tests.components import K3S, KEY, baked, laid, plan_of, text
from tests.need import need, need_root
from tests.unit.diskless import SECTOR, Card, card, imaged

if TYPE_CHECKING:
    from nodebake.tree import Tree

CHANGES: dict[str, Any] = {
    "machine": {"os": "debian", "board": "vm", "data": {}},
    "outputs": ["rootfs"],
    "access": {"users": [{"name": "ada", "ssh_authorized_keys": [KEY], "groups": ["sudo"]}]},
    "firewall": {},
}
# As on a Pi.
GROWN: dict[str, Any] = CHANGES | {"machine": CHANGES["machine"] | {"data": {"place": "boot-disk"}}}


def _root(tree: Tree, root: Path) -> Path:
    laid(tree, root)
    # Programs of the target that the units call.
    for name in ("usr/bin/systemd-sysusers", "usr/bin/systemd-tmpfiles", "usr/bin/nft", "sbin/fsck.ext4"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("#!/bin/sh\n")
        (root / name).chmod(0o755)
    return root


def test_units_pass_systemds_own_check(tmp_path: Path) -> None:
    """systemd-analyze verify finds no unknown key, no bad value and no missing program."""
    analyze = need("systemd-analyze", package="systemd")
    plan = plan_of(tmp_path, **GROWN, k3s=K3S)
    root = _root(merge(baked(plan, "m1"), baked(plan, "m3")), tmp_path / "root")
    shutil.copytree("/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    units = ["etcd.service", "data.mount", "k3s.service", "k3s-agent.service"]
    units += [f"nodebake-{name}.service" for name in ("accounts", "firewall", "partition")]
    options = [f"--root={root}", "--recursive-errors=one", "--man=no"]
    check = r"systemd-fsck@dev-disk-by\x2dlabel-DATA.service"  # systemd's own, with a drop-in
    run([analyze, "verify", *options, *(root / "etc/systemd/system" / unit for unit in units), check])


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
        "ExecStart=/usr/local/lib/nodebake/etcd-run /usr/local/bin/etcd /etc/etcd/conf.yml",
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


def test_homes_are_made_only_for_somebody(tmp_path: Path) -> None:
    """What etcd waits for is its account; a program that has nothing to make would only keep it waiting."""
    unit = "etc/systemd/system/nodebake-accounts.service"
    nobody = {**CHANGES, "access": {}}
    made = [baked(plan_of(tmp_path, **changes))[unit].content for changes in (CHANGES, nobody)]
    assert [True, False] == [b"systemd-tmpfiles" in content for content in made]


@pytest.fixture
def small(tmp_path: Path) -> Card:
    """Return a card that is larger than the image that was written to it."""
    made = card(tmp_path / "card.img", "start=8192, size=8192, type=c\nstart=16384, size=65536, type=83\n")
    imaged(made, 2, "DATA", UUID(int=1), scratch=tmp_path)
    return made


def _grown(card_: Card, directory: Path, then: str = "") -> str:
    """Grow the card's second partition while it is mounted; return what was said at the end.

    In a namespace of its own: others that copy this machine's mounts would keep the file system in use.
    """
    grow = "sh grow-partition mounted"
    then = f"cat /sys/class/block/${{1##*/}}p2/size; {then or ':'}"
    return _with_script(card_, directory, f"{grow}; {grow}; {then}")


def _with_script(card_: Card, directory: Path, steps: str) -> str:
    script = baked(plan_of(directory, **GROWN))["usr/local/lib/nodebake/grow-partition"]
    (directory / "grow-partition").write_bytes(script.content)
    before = (
        "set -e; mount --make-rprivate /; mkdir -p mounted; mount $1p2 mounted; echo etcd >mounted/member"
    )
    with card_.inserted() as device:
        argv = ["unshare", "--mount", "sh", "-c", f"{before}; {steps}; umount mounted", "grow", device]
        return run(argv, cwd=directory).decode()


def test_partition_grows_while_it_is_mounted(tmp_path: Path, small: Card) -> None:
    """Table and kernel have the partition end where the card does, and what is on it stays."""
    need_root()
    whole = small.path.stat().st_size // SECTOR - 16384
    assert whole == int(_grown(small, tmp_path))
    assert ("83", 16384, whole) == small.partition(2)
    assert "DATA: 12/" in small.check(2)


@pytest.mark.parametrize(("program", "package"), [("sfdisk", "fdisk"), ("partx", "util-linux")])
@pytest.mark.parametrize("first", ["", '"$real" "$@"; '], ids=["before", "after"])
def test_power_may_be_cut_while_it_grows(
    tmp_path: Path, small: Card, program: str, package: str, first: str
) -> None:
    """Killed before or after each of the programs that change something, the next start gets there."""
    need_root()
    stub = tmp_path / "cut" / program
    stub.parent.mkdir()
    stub.write_text(f"#!/bin/sh\nreal={need(program, package=package)}\n{first}kill -9 $PPID\n")
    stub.chmod(0o755)
    _with_script(small, tmp_path, f"! PATH={stub.parent}:$PATH sh grow-partition mounted")
    assert small.path.stat().st_size // SECTOR - 16384 == int(_grown(small, tmp_path))
    assert "DATA: 12/" in small.check(2)


def test_file_system_grows_with_it(tmp_path: Path, small: Card) -> None:
    """The unit's own command makes the file system of the image fill the partition, while it is mounted."""
    need_root()
    if not int(Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0], 16) >> 24 & 1:
        pytest.skip("root may not resize a mounted ext4 here: no CAP_SYS_RESOURCE")
    unit = text(baked(plan_of(tmp_path, **GROWN)), "etc/systemd/system/nodebake-partition.service")
    growfs = next(line.partition("=")[2] for line in unit.splitlines() if "systemd-growfs" in line)
    assert growfs.endswith(" /data")
    told = _grown(
        small, tmp_path, then=f"{growfs.split()[0]} mounted; stat --file-system --format=%b mounted"
    )
    assert int(told.split()[-1]) * 4096 > 90 * MIB
    small.check(2)
