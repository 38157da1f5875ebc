"""What a changed profile means for nodes that run, judged from the last build alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nodebake import console, pipeline, upkeep
from nodebake.errors import UsageError
from nodebake.progress import Silent
from tests.unit.inputs import options, profile

CLIENT = "y-1"
MEMBERS = ("x-1", "x-2", "x-3")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a profile and its build, to look at only."""
    directory = tmp_path_factory.mktemp("first")
    (directory / "mine/etc").mkdir(parents=True)
    (directory / "mine/etc/motd").write_text("hello\n")
    path = Path(profile(directory))
    path.write_text(path.read_text() + "overlays: [{path: mine}]\n")
    build(directory)
    return directory


@pytest.fixture
def built(first: Path, tmp_path: Path) -> Path:
    """Return the same, to change."""
    return Path(shutil.copytree(first, tmp_path / "place"))


def build(directory: Path, node: str = "") -> None:
    """Build the profile in a directory."""
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    pipeline.build(plan, options=options(directory, node=node), progress=Silent(), ask=None)


def change(directory: Path, old: str, new: str) -> dict[str, upkeep.Consequence]:
    """Change the profile's text and return what that means, by node."""
    path = directory / "edge.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    plan = pipeline.resolve(str(path))
    return {one.node: one for one in upkeep.compare(plan, options(directory))}


def test_nothing_changed_means_nothing(built: Path) -> None:
    """The profile of the last build asks nothing of anybody."""
    rows = change(built, "schema: 1", "schema: 1")
    assert {name: (row.effect, row.changes) for name, row in rows.items()} == dict.fromkeys(
        (*MEMBERS, CLIENT), ("nothing", ())
    )


@pytest.mark.parametrize(
    ("old", "new", "expected", "for_client"),
    [
        ("name: edge,", "name: other,", "impossible", "impossible"),
        ("edge.example.com", "new.example.com", "certificates", "certificates"),
        ("{version: 3.5.16}", "{version: 3.5.33}", "upgrade", "new artefact"),
        ("{version: 3.5.16}", "{version: 3.6.14}", "impossible", "impossible"),
        ("{version: 3.5.16}", "{version: 3.5.16, storage: sdcard}", "restart", "new artefact"),
        ("{version: 3.5.16}", "{version: 3.5.16, log_level: warn}", "restart", "new artefact"),
        ("{version: 3.5.16}", "{version: 3.5.16, peer_port: 3380}", "members", "new artefact"),
        ("{version: 3.5.16}", "{version: 3.5.16, client_port: 3379}", "new artefact", "new artefact"),
        ("{version: 3.5.16}", "{version: 3.5.16, data_dir: /data/other}", "replace", "new artefact"),
        ("{version: 3.5.16}", "{version: 3.5.16, auth: {}}", "restart", "new artefact"),
        ("data: {}", "data: {mountpoint: /other}", "replace", "new artefact"),
        ("data: {}", "data: {size: 64MiB}", "nothing", "nothing"),
        ("interface: eth0", "interface: eth1", "new artefact", "new artefact"),
        ("outputs: [nocloud, rootfs]", "outputs: [rootfs]", "nothing", "nothing"),
        ("schema: 1", "schema: 1\nfirewall: {}", "new artefact", "new artefact"),
        ("schema: 1", "schema: 1\npki: {leaf_lifetime: 3y}", "certificates", "certificates"),
    ],
)
def test_a_changed_value_means(built: Path, old: str, new: str, expected: str, for_client: str) -> None:
    """The most that any value of the change comes to, for members and for a client."""
    rows = change(built, old, new)
    assert {row.effect for name, row in rows.items() if name != CLIENT} == {expected}
    assert rows[CLIENT].effect == for_client


def test_users_that_were_made_are_the_clusters(built: Path) -> None:
    """The members make them once: what the profile says later changes nothing."""
    path = built / "edge.yaml"
    path.write_text(path.read_text().replace("{version: 3.5.16}", "{version: 3.5.16, auth: {}}"))
    build(built)
    more = "auth: {roles: [{name: r, grants: [{prefix: /a}]}]}"
    assert {row.effect for row in change(built, "auth: {}", more).values()} == {"nothing"}


def test_a_tuning_set_names_the_values_that_it_changes(built: Path) -> None:
    """The name of the set means nothing by itself; each value has its old and its new one."""
    rows = change(built, "{version: 3.5.16}", "{version: 3.5.16, storage: sdcard}")
    changed = {one.path: (one.before, one.after, one.effect) for one in rows["x-1"].changes}
    assert changed == {
        "etcd.storage": ("ssd", "sdcard", "nothing"),
        "etcd.heartbeat_interval": (100, 500, "restart"),
        "etcd.election_timeout": (1000, 5000, "restart"),
    }


def test_nodes_that_come_and_go_change_the_members(built: Path) -> None:
    """Added, removed and turned into a client: each names the command; the others lose nothing."""
    rows = change(
        built,
        "  - {name: x-3, address: [192.168.7.13/24]}",
        "  - {name: x-4, address: [192.168.7.14/24]}\n  - {name: z, address: 192.168.7.15/24, role: client}",
    )
    effects = {name: row.effect for name, row in rows.items()}
    assert effects == {
        "x-1": "nothing",
        "x-2": "nothing",
        "x-4": "members",
        "z": "new artefact",
        "y-1": "nothing",
        "x-3": "members",
    }
    assert "./invoke members" in rows["x-4"].changes[0].todo
    assert [one.path for one in rows["x-1"].changes] == ["nodes"]


def test_rules_that_name_the_others_come_with_them(built: Path) -> None:
    """A packet filter's rules for members change with these; rules of one's own alone are laid over."""
    (built / "edge.yaml").write_text((built / "edge.yaml").read_text() + "firewall: {}\n")
    build(built)
    row = change(built, "192.168.7.13/24]", "192.168.7.33/24]")["x-1"]
    assert row.effect == "members"
    assert all("./invoke members" in one.todo for one in row.changes)
    build(built)
    assert change(built, "firewall: {}", "firewall: {ports: [{port: 80}]}")["x-1"].effect == "restart"


def test_a_moved_member_is_told_from_a_further_address(built: Path) -> None:
    """Peers use the first address; another one only needs certificates and an artefact."""
    rows = change(built, "192.168.7.13/24]", "192.168.7.33/24]")
    assert rows["x-3"].effect == "members"
    rows = change(built, "192.168.7.33/24]", "192.168.7.13/24, 'fd00::3/64']")
    assert rows["x-3"].effect == "new artefact"


def test_a_renamed_member_cannot_be(built: Path) -> None:
    """The address belongs to the member of the old name, whose data has that name in it."""
    rows = change(built, "name: x-3,", "name: x-9,")
    assert rows["x-9"].effect == "impossible"
    assert "x-3 has 192.168.7.13" in rows["x-9"].changes[0].todo


def test_the_users_own_files_count(built: Path) -> None:
    """The profile is the same, and a file of an overlay is not."""
    (built / "mine/etc/motd").write_text("goodbye\n")
    rows = change(built, "schema: 1", "schema: 1")
    assert {row.effect for row in rows.values()} == {"new artefact"}
    assert "goodbye" not in (built / "out/plan.json").read_text()


def test_a_node_built_alone_is_compared_with_its_own_plan(built: Path) -> None:
    """The others still have what they were baked from."""
    change(built, "interface: eth0", "interface: eth1")
    build(built, "x-2")
    rows = change(built, "schema: 1", "schema: 1")
    assert {name: row.effect for name, row in rows.items()} == {
        "x-1": "new artefact",
        "x-2": "nothing",
        "x-3": "new artefact",
        "y-1": "new artefact",
    }


def test_without_a_build_there_is_nothing_to_compare(tmp_path: Path) -> None:
    """The message says what makes one."""
    plan = pipeline.resolve(profile(tmp_path))
    with pytest.raises(UsageError, match="no build lies in"):
        upkeep.compare(plan, options(tmp_path))


def test_it_is_told_as_text_and_as_json(built: Path) -> None:
    """A line per node and one per value; the same values for programs."""
    rows = tuple(change(built, "{version: 3.5.16}", "{version: 3.5.33}").values())
    text = console.differences_as_text(built / "out", rows)
    assert "x-1: upgrade\n  etcd.version: 3.5.16 -> 3.5.33; upgrade: ./invoke upgrade" in text
    told = json.loads(console.differences_as_json(built / "out", rows))
    assert [(one["node"], one["effect"]) for one in told["nodes"]] == [
        *((name, "upgrade") for name in MEMBERS),
        (CLIENT, "new artefact"),
    ]
    assert told["nodes"][0]["changes"][0]["before"] == "3.5.16"
