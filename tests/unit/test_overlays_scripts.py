"""Promises of every script that runs on a node, as shipped and as rendered."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.overlay import OVERLAYS
from tests.components import DEBIAN, K3S, KEY, baked, plan_of
from tests.need import need, need_root, shared

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.tree import Tree

USERS = {"users": [{"name": "ada", "ssh_authorized_keys": [KEY], "groups": ["wheel", "kiosk"]}]}
STARTS = "exec 2>&1; exec timeout 60 sh /usr/local/lib/nodebake/etcd-run /srv/etcd /etc/etcd/conf.yml"


def _scripts(tree: Tree) -> dict[str, bytes]:
    shell = ("etc/profile.d/", "etc/conf.d/", "etc/nodebake/etcd", "etc/nodebake/k3s")
    return {
        path: entry.content
        for path, entry in tree.items()
        if stat.S_ISREG(entry.mode) and (entry.content.startswith(b"#!") or path.startswith(shell))
    }


@pytest.mark.parametrize("os", ["alpine", "debian"])
def test_scripts_are_posix_sh(tmp_path: Path, os: str) -> None:
    """Shellcheck finds nothing in any script or sourced file, and busybox can parse them all."""
    shellcheck = need("shellcheck", package="shellcheck")
    busybox = need("busybox", package="busybox-static")
    scripts = _scripts(baked(plan_of(tmp_path, access=USERS, k3s=K3S, **(DEBIAN if os == "debian" else {}))))
    assert {"usr/local/lib/nodebake/k3s-run", "etc/nodebake/etcd", "etc/nodebake/k3s"} <= set(scripts)
    for path, content in scripts.items():
        file = tmp_path / path.replace("/", "_")
        file.write_bytes(content)
        # SC2034: a sourced file's variables are used by whoever sources it.
        extra = [] if content.startswith(b"#!") else ["--exclude=SC2034"]
        run([shellcheck, "--shell=sh", *extra, file])
        run([busybox, "ash", "-n", file])


def test_every_shipped_script_is_clean() -> None:
    """No script in overlays/ escapes the check because no test renders it."""
    shellcheck = need("shellcheck", package="shellcheck")
    files = [path for path in OVERLAYS.rglob("*") if path.is_file() and path.suffix != ".j2"]
    scripts = [path for path in files if path.read_bytes().startswith(b"#!")]
    assert scripts
    run([shellcheck, "--shell=sh", *scripts])


@pytest.fixture
def alpine(tmp_path: Path) -> Path:
    """Return a real Alpine root file system with the artefact laid over it."""
    need_root()
    root = tmp_path / "alpine"
    root.mkdir()
    run(["tar", "-xzf", shared("alpine-minirootfs-3.20.3-x86_64.tar.gz"), "-C", root])
    for path, entry in baked(plan_of(tmp_path, access=USERS)).items():
        if stat.S_ISREG(entry.mode):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(entry.content)
    return root


def _source(root: Path, script: str, call: str) -> str:
    # What openrc-run defines, as far as the scripts use it.
    around = "ebegin() { :; }; eend() { return $1; }; RC_SVCNAME=x"
    return run(["chroot", root, "/bin/sh", "-euc", f"{around}; . /etc/init.d/{script}; {call}"]).decode()


def test_etcd_user_is_made_by_alpines_own_tools(alpine: Path) -> None:
    """Busybox's addgroup and adduser make the user with its number, and a second time changes nothing."""
    expected = "etcd:x:2379:2379:"
    assert _source(alpine, "etcd", "make_user; make_user; grep ^etcd: /etc/passwd").startswith(expected)


def test_accounts_are_made_by_alpines_own_tools(alpine: Path) -> None:
    """A user gets number, groups, keys of their own and a password that nothing matches."""
    look = "id ada; cd /home/ada; stat -c '%U %a' .ssh .ssh/authorized_keys; grep ^ada: /etc/shadow"
    told = _source(alpine, "nodebake-users", f"start; start; {look}").splitlines()
    assert told[0].startswith("uid=1500(ada) gid=1500(ada) groups=")
    assert all(f"({group})" in told[0] for group in ("wheel", "kiosk"))
    assert told[1:3] == ["ada 700", "ada 600"]
    assert told[3].startswith("ada:*:")


def test_prepare_runs_under_busybox(alpine: Path) -> None:
    """The guard that both inits share works with busybox's tools: it owns, and it refuses."""
    _source(alpine, "etcd", "make_user")
    conf = alpine / "etc/nodebake/etcd"
    conf.write_text(conf.read_text().replace('DATA_MOUNT="/data"', 'DATA_MOUNT=""'))
    run(["chroot", alpine, "/bin/sh", "/usr/local/lib/nodebake/etcd-prepare"])
    expected = (2379, 0o700)
    found = (alpine / "data/etcd").stat()
    assert expected == (found.st_uid, stat.S_IMODE(found.st_mode))
    key = (alpine / "etc/etcd/pki/server.key").stat()
    assert (key.st_uid, key.st_gid, stat.S_IMODE(key.st_mode)) == (0, 2379, 0o640)


# Stands in for etcdctl and answers as a cluster that has seen this member before.
_KNOWN = """\
#!/bin/sh
. /etc/nodebake/etcd
[ "$OTHERS" = "${1#--endpoints=}" ] || exit 1
echo "1, started, $MEMBER, $PEER_URL, https://192.0.2.1:2379, false"
"""


def test_a_member_without_data_asks_under_busybox(alpine: Path) -> None:
    """It asks the others, takes their answer, and does not start; busybox's kill is not everybody's."""
    programs = alpine / "srv"
    programs.mkdir(exist_ok=True)
    for name, text in (("etcd", "#!/bin/sh\nexec sleep 60\n"), ("etcdctl", _KNOWN)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (alpine / "data/etcd").mkdir(parents=True)
    said = "grep 'its data is gone' /told"
    until = f"until {said} || ! kill -0 $!; do sleep 0.1; done; kill $!; wait; {said}"
    run(["chroot", alpine, "/bin/sh", "-c", f": >/dev/null >/told; {{ {STARTS}; }} >/told & {until}"])


@pytest.mark.parametrize(("generation", "kept"), [("0", ""), ("1", "1\n")])
def test_a_member_notes_which_cluster_its_data_is_of(alpine: Path, generation: str, kept: str) -> None:
    """Nothing for the first, as a power cut could leave an empty file; that of a later one is whole."""
    programs, data = alpine / "srv", alpine / "data/etcd"
    programs.mkdir(exist_ok=True)
    (programs / "etcd").write_text("#!/bin/sh\necho started\n")
    (programs / "etcd").chmod(0o755)
    conf = alpine / "etc/nodebake/etcd"
    conf.write_text(f"{conf.read_text()}GENERATION={generation}\n")
    (data / "member/wal").mkdir(parents=True)
    if kept:
        (data / "generation").write_text(kept)
    told = run(["chroot", alpine, "/bin/sh", "-c", STARTS]).decode()
    note = data / "generation"
    assert ("started\n", kept) == (told, note.read_text() if note.exists() else "")


def test_prepare_mounts_nothing(alpine: Path) -> None:
    """A file system that the node's own service refused to mount is not mounted behind its back."""
    _source(alpine, "etcd", "make_user")
    tried = "mount() { echo mounted; }; . /usr/local/lib/nodebake/etcd-prepare"
    for line, place in (
        ("DATA_MOUNT=/data", "/data"),
        ("DATA_MOUNT=; WAL_MOUNT=/wal; WAL_DEVICE=LABEL=WAL", "/wal"),
    ):
        conf = alpine / "etc/nodebake/etcd"
        conf.write_text(f"{conf.read_text()}{line}\n")
        told = run(["chroot", alpine, "/bin/sh", "-c", f"({tried}) 2>&1; true"]).decode()
        assert f"etcd: not started: no file system is mounted on {place}, " in told
        assert "mounted\n" not in told


@pytest.mark.parametrize("device", ["/dev/not-there", "LABEL=NOT-THERE"])
def test_data_waits_for_a_slow_device_by_any_name(tmp_path: Path, device: str) -> None:
    """Busybox's findfs prints any path under /dev, there or not: only a block device ends the waiting."""
    busybox = need("busybox", package="busybox-static")
    (tmp_path / "findfs").symlink_to(busybox)
    script = OVERLAYS / "base/mount-openrc/etc/init.d/nodebake-data"
    around = f"sleep() {{ echo waited; }}; . {script}; data_device={device}"
    told = run(
        [busybox, "ash", "-c", f"PATH={tmp_path}:$PATH; {around}; wait_for_device || echo gave up"]
    ).decode()
    assert ["waited"] * 10 + ["gave up"] == told.splitlines()
