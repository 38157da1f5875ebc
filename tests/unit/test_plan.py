"""From a profile to a plan."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodebake import pipeline
from nodebake.plan import BOARDS, Plan, Setting, resolve, with_part
from nodebake.profile.load import load, names

if TYPE_CHECKING:
    from collections.abc import Mapping

GOLDEN = Path(__file__).parent.parent / "golden" / "plans"
PROFILE = """\
schema: 1
cluster: {name: edge, domain: edge.example.com}
machine: {os: debian}
nodes:
  - {name: a, address: [192.168.7.11/24, 'fd00::11/64'], names: [alpha.example.com]}
  - {name: b, address: [192.168.7.12/24, 'fd00::12/64'], role: client}
outputs: [rootfs]
"""


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a profile to change and load."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "edge.yaml"
    path.write_text(PROFILE)
    return path


def planned(path: Path, changes: Mapping[str, str] | None = None) -> Plan:
    """Return the plan of PROFILE with some of its text replaced."""
    text = PROFILE
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    plan, problems = resolve(load(str(path)))
    assert problems == []
    return plan


@pytest.mark.parametrize("name", names())
def test_plan_is_the_golden_one(name: str, request: pytest.FixtureRequest) -> None:
    """A change of what a shipped profile comes to is seen in review."""
    file = GOLDEN / f"{name}.json"
    actual = json.dumps(pipeline.resolve(name).to_json(), indent=2) + "\n"
    if request.config.getoption("--update-golden"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(actual)
    expected = file.read_text() if file.exists() else ""
    message = "if this is meant: ./.venv/bin/python -m pytest tests/unit/test_plan.py --update-golden"
    assert expected == actual, message


def test_no_golden_plan_is_left_over() -> None:
    """A golden file without its profile is a profile that was lost."""
    assert sorted(names()) == sorted(file.stem for file in GOLDEN.glob("*.json"))


def test_plan_is_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Origins of shipped profiles do not depend on the current directory."""
    expected = pipeline.resolve("pi3").to_json()
    monkeypatch.chdir(tmp_path)
    assert expected == pipeline.resolve("pi3").to_json()


def test_node_has_every_name_and_address(profile: Path) -> None:
    """A node is known by its host name, its qualified name and the names the profile adds."""
    node = planned(profile).node("a")
    assert (node.ip, node.ips) == ("192.168.7.11", ("192.168.7.11", "fd00::11"))
    assert node.interfaces == ("192.168.7.11/24", "fd00::11/64")
    assert node.dns == ("a", "a.edge.example.com", "alpha.example.com")
    assert (node.fqdn, node.url_host) == ("a.edge.example.com", "192.168.7.11")


def test_ipv6_stands_in_brackets_in_urls(profile: Path) -> None:
    """A node whose first address is IPv6 is reached at [address] (RFC 3986)."""
    plan = planned(profile, {"192.168.7.11/24, ": "", "192.168.7.12/24, ": ""})
    assert [node.url_host for node in plan.nodes] == ["[fd00::11]", "[fd00::12]"]


def test_node_without_a_domain_has_its_name_only(profile: Path) -> None:
    """Without a domain nothing is qualified."""
    plan = planned(profile, {", domain: edge.example.com": "", ", names: [alpha.example.com]": ""})
    assert (plan.node("a").fqdn, plan.node("a").dns, plan.shared_names) == ("a", ("a",), ("etcd",))


def test_shared_names_are_qualified(profile: Path) -> None:
    """Any member also answers to etcd and etcd.<domain>."""
    assert planned(profile).shared_names == ("etcd", "etcd.edge.example.com")


def test_members_are_the_nodes_that_run_etcd(profile: Path) -> None:
    """A client is a node, not a member."""
    plan = planned(profile)
    assert [node.name for node in plan.members] == ["a"]
    assert [node.name for node in plan.nodes] == ["a", "b"]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ("os: debian", ("x86_64", 2 << 30, "systemd", "glibc")),
        ("os: debian, board: vm, arch: aarch64", ("aarch64", 2 << 30, "systemd", "glibc")),
        ("os: alpine, board: rpi3", ("aarch64", 1 << 30, "openrc", "musl")),
        ("os: debian, board: rpi4, memory: 8GiB", ("aarch64", 8 << 30, "systemd", "glibc")),
        ("os: alpine, board: rpi-zero-2w", ("aarch64", 512 << 20, "openrc", "musl")),
        ("os: debian, board: rpi5", ("aarch64", 8 << 30, "systemd", "glibc")),
    ],
)
def test_machine_follows_from_board_and_system(
    machine: str, expected: tuple[object, ...], profile: Path
) -> None:
    """Architecture and memory are the board's unless the profile says otherwise."""
    plan = planned(profile, {"os: debian": machine})
    assert (plan.arch, plan.memory, plan.init, plan.libc) == expected


def test_only_pis_have_firmware_rules() -> None:
    """A virtual machine has no files on a boot partition."""
    firmware = {name for name, board in BOARDS.items() if board.firmware}
    assert firmware == {"rpi3", "rpi4", "rpi5", "rpi-zero-2w"}


def test_every_setting_tells_its_origin(profile: Path) -> None:
    """A value comes from a line, a board, a derivation or the defaults."""
    found = {setting.path: (setting.value, setting.origin) for setting in planned(profile).settings}
    expected = {
        "cluster.name": ("edge", "edge.yaml:2"),
        "cluster.shared_names": (["etcd"], "default"),
        "machine.arch": ("x86_64", "board vm"),
        "machine.memory": (2 << 30, "board vm"),
        "machine.data": (None, "default"),
        "nodes[1].role": ("client", "edge.yaml:6"),
        "nodes[0].role": ("member", "default"),
        "nodes[0].address": (["192.168.7.11/24", "fd00::11/64"], "edge.yaml:5"),
        "pki.authority.common_name": ("edge etcd CA", "derived: the cluster's name"),
        "etcd.tls.ca": ("/etc/etcd/pki/ca.crt", "default"),
        "outputs": (["rootfs"], "edge.yaml:7"),
    }
    assert expected == {path: found[path] for path in expected}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    number: int


def test_part_is_found_by_its_class(profile: Path) -> None:
    """What a component decided comes back as it was given."""
    plan = with_part(planned(profile), _Part(number=3), [])
    assert plan.part(_Part) == _Part(number=3)
    with pytest.raises(KeyError, match="Path"):
        plan.part(Path)


def test_decided_setting_takes_the_place_of_the_open_one(profile: Path) -> None:
    """There is one setting per path, and new ones stand with their section."""
    before = planned(profile)
    decided = Setting(path="etcd.heartbeat_interval", value=500, origin="tuning sdcard")
    added = Setting(path="etcd.zone", value=1, origin="default")
    after = with_part(before, _Part(number=1), [decided, added], ["careful"])
    paths = [setting.path for setting in after.settings]
    assert len(set(paths)) == len(paths) == len(before.settings) + 1
    assert after.settings[paths.index("etcd.heartbeat_interval")] == decided
    assert paths[paths.index("etcd.zone") + 1] == "flannel"
    assert after.warnings == (*before.warnings, "careful")


@pytest.mark.parametrize(
    ("members", "start"),
    [
        (1, ""),
        (2, "2 members bear the loss of 0, no more than 1 would"),
        (3, ""),
        (4, "4 members bear the loss of 1, no more than 3 would"),
        (7, ""),
        (9, "9 members: every write waits for 5 of them; use at most 7 and make the rest clients"),
    ],
)
def test_unwise_number_of_members_is_warned_of(members: int, start: str, profile: Path) -> None:
    """An even number adds nothing but risk, a large one only waiting."""
    nodes = [f"  - {{name: n{number}, address: 10.0.0.{number}/24}}" for number in range(1, members + 1)]
    head, _, rest = PROFILE.partition("  - {")
    profile.write_text(head + "\n".join(nodes) + "\n" + rest[rest.index("outputs") :])
    plan, problems = resolve(load(str(profile)))
    assert problems == []
    assert [warning[: len(start)] for warning in plan.warnings] == ([start] if start else [])


def test_overlay_without_a_data_partition_is_warned_of(profile: Path) -> None:
    """A diskless member forgets its data."""
    plan = planned(profile, {"os: debian": "os: alpine", "[rootfs]": "[apkovl]"})
    assert [warning.rpartition("; ")[2] for warning in plan.warnings] == ["add machine.data"]


def test_plan_holds_no_path_of_this_machine() -> None:
    """The JSON of a plan is the same on every machine."""
    plan = pipeline.resolve("pi3")
    assert str(plan.directory) not in json.dumps(plan.to_json())
