"""Promises of etcd's OpenRC service, run by the real openrc-run with a real etcd."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodebake.command import find, run
from nodebake.errors import BuildError
from tests.components import baked, laid, plan_of
from tests.need import need, need_etcd, need_root
from tests.patience import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.tree import Tree

ADDRESS = "192.168.7.11"
ROOM = Path(__file__).parent / "openrc" / "room"
STUB = "#!/sbin/openrc-run\nstart() { return 0; }\n"
ACCOUNTS = "root:x:0:0::/root:/bin/sh\netcd:x:2379:2379::/dev/null:/usr/sbin/nologin\n"
# Debian builds OpenRC with PAM, Alpine without.
PAM = "account required pam_permit.so\nsession required pam_permit.so\n"
GROUP = "root:x:0:\netcd:x:2379:\n"


class Room:
    """A root directory with the artefact in it, and a way to run programs there.

    Attributes:
        root: the directory.
    """

    def __init__(self, root: Path, process: int) -> None:
        self.root, self._process = root, process

    def run(self, *argv: str) -> str:
        """Run a program in the room and return its output.

        Raises:
            BuildError: it failed.
        """
        namespaces = ["--mount", "--net", "--pid"]
        enter = ["nsenter", "--target", str(self._process), *namespaces]
        return run([*enter, "chroot", self.root, *argv], timeout=60).decode()

    def service(self, action: str) -> str:
        """Run the etcd service's init script."""
        return self.run("/sbin/openrc-run", "/etc/init.d/etcd", "--nocolor", action)

    def pids(self, name: str) -> list[int]:
        """Return the processes of that name in the room."""
        try:
            return [int(pid) for pid in self.run("pidof", name).split()]
        except BuildError:
            return []


def _artifact(directory: Path) -> Tree:
    plan = plan_of(
        directory,
        nodes=[{"name": "m1", "address": [f"{ADDRESS}/24"]}],
        etcd={
            "version": "3.5.16",
            "storage": "ssd",
            "restart_delay": 1,
            # What root may set in a container too.
            "open_files": 4096,
            "oom_score_adjust": 100,
            "nice": 5,
        },
    )
    return baked(plan, programs=need_etcd())


@contextmanager
def _open(root: Path, tree: Tree) -> Iterator[Room]:
    laid(tree, root)
    (root / "etc/pam.d").mkdir()
    for path, content in {"etc/passwd": ACCOUNTS, "etc/group": GROUP, "etc/pam.d/other": PAM}.items():
        (root / path).write_text(content)
    stub = root / "etc/init.d/localmount"
    stub.write_text(STUB)
    stub.chmod(0o755)
    unshare = [find("unshare", package="util-linux"), "--mount", "--net", "--pid", "--fork", "--kill-child"]
    with subprocess.Popen([*unshare, ROOM, root, ADDRESS]) as outer:  # noqa: S603 - a process that stays; run() waits
        try:
            until("the room is ready", lambda: (root / "ready").exists() or outer.poll() is not None)
            yield Room(root, int(run(["pgrep", "--parent", str(outer.pid)])))
        finally:
            outer.kill()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Return a room with the artefact of a one-member cluster and its data partition mounted."""
    need_root()
    need("openrc-run", package="openrc")
    root = tmp_path / "root"
    root.mkdir()
    with _open(root, _artifact(tmp_path)) as opened:
        opened.run("mount", "-t", "tmpfs", "tmpfs", "/data")
        yield opened


def _live(room: Room) -> str:
    return room.run("wget", "-q", "-T", "2", "-O", "-", "http://127.0.0.1:2381/health")


def test_service_starts_answers_and_stops(room: Room) -> None:
    """The init script brings etcd up as its own user, says so, and takes it down again."""
    room.service("start")
    until("etcd answers", lambda: _live(room))
    assert "started" in room.service("status")
    (pid,) = room.pids("etcd")
    status = Path(room.root / f"proc/{pid}/status")
    assert "Uid:\t2379" in room.run("cat", f"/{status.relative_to(room.root)}")
    room.service("health")
    room.service("stop")
    assert room.pids("etcd") == []
    with pytest.raises(BuildError, match="exit status 3 "):
        room.service("status")


def test_limits_of_conf_d_reach_the_daemon(room: Room) -> None:
    """Memory limit, open files, priority and OOM score are etcd's own, not only variables in a file."""
    room.service("start")
    until("etcd answers", lambda: _live(room))
    (pid,) = room.pids("etcd")
    assert "GOMEMLIMIT=402653184" in room.run("cat", f"/proc/{pid}/environ").split("\0")
    assert re.search(r"Max open files +4096 +4096", room.run("cat", f"/proc/{pid}/limits"))
    expected = "100"
    assert expected == room.run("cat", f"/proc/{pid}/oom_score_adj").strip()
    expected = "5"
    assert expected == room.run("cat", f"/proc/{pid}/stat").rpartition(")")[2].split()[16]


def test_killed_daemon_comes_back(room: Room) -> None:
    """After a kill -9 the supervisor starts etcd again, with its data."""
    room.service("start")
    until("etcd answers", lambda: _live(room))
    (pid,) = room.pids("etcd")
    room.run("kill", "-9", str(pid))
    until("another etcd answers", lambda: room.pids("etcd") not in ([], [pid]) and _live(room))
    assert "started" in room.service("status")


def test_data_and_keys_belong_to_etcd(room: Room) -> None:
    """A data directory that was copied back as root is given to etcd, and so are the keys."""
    room.run("mkdir", "-p", "/data/etcd/member/snap")
    room.service("start")
    found = room.run(
        "stat", "-c", "%U:%G %a %n", "/data/etcd", "/data/etcd/member/snap", "/etc/etcd/pki/server.key"
    )
    expected = [
        "etcd:etcd 700 /data/etcd",
        "etcd:etcd 755 /data/etcd/member/snap",
        "root:etcd 640 /etc/etcd/pki/server.key",
    ]
    lines = found.splitlines()
    assert expected[0] == lines[0]
    assert lines[1].startswith("etcd:etcd ")
    assert expected[2] == lines[2]


def test_refuses_to_start_without_the_data_partition(room: Room) -> None:
    """With nothing mounted on /data the service fails, says why, and leaves no data in memory."""
    room.run("umount", "/data")
    with pytest.raises(BuildError, match=r"no file system is mounted on /data.*LABEL=DATA"):
        room.service("start")
    assert not list((room.root / "data").iterdir())


def test_refuses_a_read_only_data_partition(room: Room) -> None:
    """A file system that the kernel made read-only after errors is named as the reason."""
    room.run("mount", "-o", "remount,ro", "tmpfs", "/data")
    with pytest.raises(BuildError, match="/data is mounted read-only"):
        room.service("start")


def test_refuses_without_its_key(room: Room) -> None:
    """A missing key is named before etcd gets to fail over it for ever."""
    (room.root / "etc/etcd/pki/peer.key").unlink()
    with pytest.raises(BuildError, match=r"/etc/etcd/pki/peer\.key is missing"):
        room.service("start")
