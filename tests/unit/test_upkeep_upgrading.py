"""What is laid over nodes that run besides certificates, and what time their later artefacts have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nodebake import command, console, pipeline, upkeep
from nodebake.errors import BuildError
from nodebake.manifest import Artifact
from nodebake.pipeline import outline, renewal, workshop
from nodebake.progress import Silent
from nodebake.upkeep import renewing
from tests.need import ROOT, need
from tests.unit.inputs import options, profile
from tests.unit.test_upkeep_renewal import files

COMPANY = {
    "etc/hosts",
    "etc/nodebake/etcd",
    "etc/nodebake/firewall.nft",
    "etc/profile.d/etcdctl.sh",
}
SECRETS = ("crt", "key", "der")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a profile and its build, to look at only."""
    directory = tmp_path_factory.mktemp("first")
    path = Path(profile(directory))
    path.write_text(path.read_text() + "firewall: {}\n")
    build(directory)
    return directory


@pytest.fixture
def place(first: Path, tmp_path: Path) -> Path:
    """Return the same, to change."""
    return Path(shutil.copytree(first, tmp_path / "place"))


def build(directory: Path) -> int:
    """Build the profile in a directory and return the time of the artefacts."""
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    return pipeline.build(plan, options=options(directory), progress=Silent(), ask=None).epoch


def laid(directory: Path, pieces: renewal.Pieces, node: str = "x-1") -> dict[str, bytes]:
    """Return the files that a node would be given."""
    plan, told = pipeline.resolve(str(directory / "edge.yaml")), options(directory)
    with workshop.opened(plan, told, None) as vault:
        oven = workshop.heat(plan, told, vault, workshop.supplies(plan, told, Silent()))
        archives = renewing.write(oven, vault, {node: pieces})
    return files(told.out / archives[node].path)


def test_what_names_the_others_is_given_alone(place: Path) -> None:
    """Hosts, etcd-run's and etcdctl's settings, the packet filter; a client has no etcd-run."""
    assert set(laid(place, renewal.Pieces(company=True))) == COMPANY
    assert set(laid(place, renewal.Pieces(company=True), "y-1")) == COMPANY - {"etc/nodebake/etcd"}


def test_settings_are_given_without_secrets_and_programs(place: Path) -> None:
    """The configuration and the service of etcd; no certificate, no key, no list, nothing of the system's."""
    given = laid(place, renewal.Pieces(settings=True))
    assert {"etc/etcd/conf.yml", "etc/systemd/system/etcd.service", "etc/nodebake/firewall.nft"} <= set(given)
    assert [path for path in given if path.endswith(SECRETS)] == []
    assert not {"usr/local/bin/etcd", "etc/fstab", "etc/hosts"} & set(given)


def test_programs_are_given_when_asked_for(place: Path) -> None:
    """Both of them, as they are in the artefact."""
    given = laid(place, renewal.Pieces(settings=True, programs=True))
    assert {"usr/local/bin/etcd", "usr/local/bin/etcdctl"} <= set(given)


def test_a_later_plan_makes_later_artefacts_once_nodes_were_given_settings(place: Path) -> None:
    """Until then the time is that of the last certificate; the same plan keeps its time."""
    text = (place / "edge.yaml").read_text()
    began = build(place)
    (place / "edge.yaml").write_text(text.replace("3.5.16}", "3.5.16, log_level: warn}"))
    assert build(place) == began

    plan, told = pipeline.resolve(str(place / "edge.yaml")), options(place)
    with workshop.opened(plan, told, None) as vault:
        vault.give(outline.digest(plan, workshop.users(plan)), running=True)
    document = json.loads((place / "vault/given.json").read_text())
    (place / "vault/given.json").write_text(json.dumps(document | {"moment": began + 1000}))
    assert build(place) == build(place) == began + 1000
    (place / "edge.yaml").write_text(text)
    build(place)
    later = json.loads((place / "vault/given.json").read_text())
    assert later["digest"] != document["digest"]
    assert later["moment"] >= began


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{version: 3.5.16}", "{version: 3.5.16, data_dir: /data/other}", "DATA_DIR is /data/etcd here"),
        ("192.168.7.11/24", "192.168.7.99/24", "PEER_URL is https://192.168.7.11:2380 here"),
    ],
)
def test_a_member_is_not_given_what_parts_it_from_its_data(
    place: Path, old: str, new: str, expected: str
) -> None:
    """The node itself refuses, with nothing changed: whatever was built since is no sign of what runs."""
    root = place / "root"
    root.mkdir()
    command.run(["tar", "-C", root, "--zstd", "-xf", place / "out/x-1/x-1.rootfs.tar.zst"])
    (place / "edge.yaml").write_text((place / "edge.yaml").read_text().replace(old, new))
    laid(place, renewal.Pieces(company=True, settings=True))
    command.run(["tar", "-C", place, "-xzf", place / "out/x-1/x-1.renewal.tar.gz"])
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_symlink()}
    script = [need("busybox", package="busybox-static"), "sh", str(place / "nodebake-renewal/apply")]
    with pytest.raises(BuildError, match=expected):
        command.run(script, env={"ROOT": str(root), "MOUNTS": "/dev/null"})
    assert before == {path: path.read_bytes() for path in before}


def test_the_commands_for_what_is_left_are_said(place: Path) -> None:
    """As they can be pasted; what the user has to do stands between them."""
    plan = pipeline.resolve(str(place / "edge.yaml"))
    url = "https://192.168.7.13:2380"
    left = (
        upkeep.Step(kind="user", name="x-3"),
        upkeep.Step(kind="promote", name="x-2", peer_url=url, id="22"),
        upkeep.Step(kind="add", name="x-3", peer_url=url),
        upkeep.Step(kind="remove", name="x-4", peer_url=url, id="44"),
    )
    told = upkeep.Adjusted(plan=plan, left=left, through="https://a:2379")
    said = console.adjusted_as_text(place / "out", told)
    ctl = "  etcdctl member"
    assert "  etcdctl user add x-3 --no-password\n" in said
    assert "  export ETCDCTL_ENDPOINTS=https://a:2379\n" in said
    assert f"{ctl} promote 22\n{ctl} add x-3 --learner --peer-urls={url}\n" in said
    assert "x-3: start a machine with the artefact in" in said
    assert f"{ctl} remove 44" in said
    assert said.endswith("in the end: ./invoke members --profile edge --live")
    done = upkeep.Adjusted(plan=plan, done=left[1:2])
    assert console.adjusted_as_text(place / "out", done).splitlines() == [
        "x-2: it is in sync, and votes",
        "the cluster's members are those of the profile",
    ]


def test_an_upgrade_by_hand_is_said_in_order(place: Path) -> None:
    """The snapshot, a command for each member in the order that was decided, and what to wait for."""
    plan = pipeline.resolve(str(place / "edge.yaml"))
    archives = {
        name: Artifact(kind="renewal", path=f"{name}/{name}.renewal.tar.gz", size=1, sha256="0")
        for name in ("x-2", "x-1")
    }
    done = upkeep.Upgraded(
        version="3.5.33", before={"x-1": "3.5.16"}, snapshot=place / "out/before.db", archives=archives
    )
    lines = console.upgraded_as_text(plan, place / "out", done).splitlines()
    assert lines[0] == "before: x-1 3.5.16"
    assert lines[1].endswith("out/before.db")
    assert [line.split("root@")[1].split()[0] for line in lines if "ssh " in line] == [
        "192.168.7.12",
        "192.168.7.11",
    ]
    assert "wait for etcdctl endpoint health" in lines[-1]


class Running:
    """A node whose init's command only writes down what it was asked."""

    def __init__(self, place: Path, *, openrc: bool = False, started: str = "true") -> None:
        self._place, self.root = place, place / "root"
        (self.root / "run").mkdir(parents=True)
        command.run(["tar", "-C", self.root, "--zstd", "-xf", place / "out/x-1/x-1.rootfs.tar.zst"])
        self._bin = place / "bin"
        self._bin.mkdir()
        # Without systemctl in its path, be it the host's, it is Alpine, whose tools are busybox's.
        self._path = str(self._bin) if openrc else f"{self._bin}:{command.PATH}"
        self._shell = [need("busybox", package="busybox-static"), "sh"] if openrc else ["sh"]
        asked = f'echo "$*" >>{place}/asked; [ "$2" != status ] || {started}'
        for name, text in {"rc-service" if openrc else "systemctl": asked, "sleep": ":"}.items():
            (self._bin / name).write_text(f"#!/bin/sh\n{text}\n")
            (self._bin / name).chmod(0o755)

    def given(self) -> list[str]:
        """Lay the archive that lies in the build over it, and return what its init was asked."""
        command.run(["tar", "-C", self._place, "-xzf", self._place / "out/x-1/x-1.renewal.tar.gz"])
        asked = self._place / "asked"
        asked.write_text("")
        env = {"ROOT": str(self.root), "MOUNTS": "/dev/null", "PATH": self._path}
        command.run([*self._shell, self._place / "nodebake-renewal/apply"], env=env)
        return asked.read_text().splitlines()


def test_a_member_is_restarted_only_for_something_new(place: Path) -> None:
    """The same settings again leave it alone; what was interrupted before the restart is made up for."""
    node = Running(place)
    pieces = renewal.Pieces(company=True, settings=True, restart=("etcd",))
    laid(place, pieces)
    assert node.given() == []
    text = (place / "edge.yaml").read_text()
    (place / "edge.yaml").write_text(text.replace("3.5.16}", "3.5.16, log_level: warn}"))
    laid(place, pieces)
    assert node.given() == ["daemon-reload", "reload-or-restart etcd"]
    assert 'log-level: "warn"' in (node.root / "etc/etcd/conf.yml").read_text()
    assert node.given() == []
    (node.root / "run/nodebake-restart.etcd").touch()
    assert node.given() == ["daemon-reload", "reload-or-restart etcd"]
    assert node.given() == []


@pytest.mark.parametrize(
    ("service", "started", "expected"),
    [
        ("nodebake-firewall", "true", ["nodebake-firewall status", "nodebake-firewall reload"]),
        ("nodebake-firewall", "false", ["nodebake-firewall status", "nodebake-firewall restart"]),
        ("etcd", "true", ["etcd restart"]),
    ],
)
def test_under_openrc_a_packet_filter_is_reloaded(
    service: str, started: str, expected: list[str], place: Path
) -> None:
    """It is never gone for a moment; what has no reload, or is not started, is restarted."""
    node = Running(place, openrc=True, started=started)
    (node.root / "etc/init.d").mkdir()
    for name in ("etcd", "firewall"):
        shutil.copytree(
            ROOT / f"overlays/{name}/openrc/etc/init.d", node.root / "etc/init.d", dirs_exist_ok=True
        )
    laid(place, renewal.Pieces(company=True, restart=(service,)))
    (node.root / f"run/nodebake-restart.{service}").touch()
    assert node.given() == expected
