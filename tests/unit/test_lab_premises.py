"""What the lab refuses before it starts a machine: each with its own message and exit code."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodebake import command, pipeline
from nodebake.errors import BuildError, InputError, NodebakeError, UsageError
from nodebake.lab import premises
from nodebake.lab.scenarios import check_playable
from nodebake.manifest import Artifact, Manifest, UsedInput
from tests.need import ROOT, need, need_root

if TYPE_CHECKING:
    from nodebake.plan import Plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Return the plan of a shipped profile."""
    return pipeline.resolve("vm")


def build(directory: Path, plan: Plan, *, arch: str = "x86_64") -> Path:
    """Write a manifest of `plan` with one artefact per node, and return one of these."""
    used = UsedInput(name="etcd", version="3.5.16", arch=arch, source="a mirror", sha256="0" * 64)
    nodes: dict[str, tuple[Artifact, ...]] = {}
    for node in plan.nodes:
        path = directory / node.name / "seed.iso"
        path.parent.mkdir(parents=True)
        path.write_bytes(node.name.encode())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        nodes[node.name] = (
            Artifact(kind="seed", path=f"{node.name}/seed.iso", size=path.stat().st_size, sha256=digest),
        )
    manifest = Manifest(
        profile=plan.name,
        cluster=plan.profile.cluster.name,
        epoch=0,
        inputs=(used,),
        nodes=nodes,
        operator=(),
    )
    (directory / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    return directory / plan.nodes[0].name / "seed.iso"


def refusal(error: pytest.ExceptionInfo[NodebakeError]) -> tuple[int, str]:
    """Return the exit code and the message."""
    return error.value.exit_code, str(error.value)


def test_a_whole_build_is_taken(tmp_path: Path, plan: Plan) -> None:
    """Its manifest is returned."""
    build(tmp_path, plan)
    assert list(premises.read_manifest(plan, tmp_path).nodes) == ["etcd-1", "etcd-2", "etcd-3"]


def test_machines_the_lab_does_not_have_are_refused(plan: Plan, tmp_path: Path) -> None:
    """The message says what the profile is for, and what the lab boots."""
    premises.check_kind(plan)
    premises.check_kind(pipeline.resolve("pi3"))
    premises.check_kind(pipeline.resolve("pi3-debian"))
    path = tmp_path / "pi4.yaml"
    path.write_text("schema: 1\nextends: pi3\nmachine: {board: rpi4}\n", encoding="utf-8")
    with pytest.raises(UsageError) as error:
        premises.check_kind(pipeline.resolve(str(path)))
    assert (
        2,
        (
            "the lab cannot boot pi4: alpine on rpi4, aarch64, apkovl\n"
            "  it boots debian on vm, x86_64, nocloud; alpine on vm, x86_64, apkovl; "
            "alpine on vm, aarch64, apkovl; alpine on rpi3, aarch64, apkovl; debian on rpi3, aarch64, rootfs"
        ),
    ) == refusal(error)


def test_no_build_says_how_to_build(tmp_path: Path, plan: Plan) -> None:
    """The hint is the command."""
    with pytest.raises(UsageError) as error:
        premises.read_manifest(plan, tmp_path)
    assert (
        2,
        f"{tmp_path} has no build\n  build first: ./invoke build --profile vm",
    ) == refusal(error)


@pytest.mark.parametrize("change", ["touched", "removed"])
def test_an_artefact_that_is_not_the_manifests_is_refused(tmp_path: Path, plan: Plan, change: str) -> None:
    """The message names the file."""
    artefact = build(tmp_path, plan)
    if change == "touched":
        artefact.write_bytes(b"etcd-X")
    else:
        artefact.unlink()
    with pytest.raises(BuildError) as error:
        premises.read_manifest(plan, tmp_path)
    said = {
        "touched": f"{artefact} is not what the manifest says",
        "removed": f"{artefact} is in the manifest and cannot be read: No such file or directory",
    }
    assert (1, [said[change]]) == (error.value.exit_code, str(error.value).splitlines()[:-1])


def test_a_release_that_nobody_would_boot_is_refused(plan: Plan) -> None:
    """The lab makes the Debian guest itself; a release of Alpine would be passed over in silence."""
    with pytest.raises(UsageError) as error:
        premises.check_kind(plan, base=Path("alpine-virt.iso"))
    assert (2, "vm: --base is a release of Alpine, and its machines boot Debian\n  leave it out") == refusal(
        error
    )


def test_a_build_for_another_architecture_is_refused(tmp_path: Path, plan: Plan) -> None:
    """It would boot, and its etcd never start."""
    build(tmp_path, plan, arch="aarch64")
    with pytest.raises(BuildError) as error:
        premises.read_manifest(plan, tmp_path)
    said = f"{tmp_path}/manifest.json is of a build for aarch64, and the profile is for x86_64"
    assert (1, [said, "  run: ./invoke build --profile vm"]) == (
        error.value.exit_code,
        str(error.value).splitlines(),
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}'])
def test_a_broken_manifest_is_refused(tmp_path: Path, plan: Plan, text: str) -> None:
    """It ends in a message, not in a traceback."""
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(BuildError, match="is not a manifest"):
        premises.read_manifest(plan, tmp_path)


def test_too_little_memory_is_said_before_anything_starts(tmp_path: Path, plan: Plan) -> None:
    """The message has what is needed and what there is."""
    need("qemu-system-x86_64", package="qemu-system-x86")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 2097152 kB\nMemAvailable: 1048576 kB\n", encoding="ascii")
    with pytest.raises(InputError) as error:
        premises.check_machine(plan, tmp_path, meminfo=meminfo)
    assert (3, "1024 MiB are free") == (error.value.exit_code, refusal(error)[1].splitlines()[0][-17:])


ASK = """\
import sys
from pathlib import Path
from nodebake import pipeline
from nodebake.errors import NodebakeError
from nodebake.lab import accelerator, components, network, premises
try:
    {question}
except NodebakeError as error:
    print(error.exit_code, *str(error).splitlines(), sep="|")
"""


def told(question: str, *, after: str, user: bool = False) -> list[str]:
    """Ask in a namespace where the shell command `after` has changed something; return code and lines."""
    need_root()
    space = ["--user", "--map-root-user"] if user else ["--mount", "--propagation=private"]
    script = f'{after}; exec "$0" -c "$1"'
    ask = [sys.executable, ASK.format(question=question)]
    env = {"PYTHONPATH": str(ROOT)}
    unshare = need("unshare", package="util-linux")
    return command.run([unshare, *space, "sh", "-ec", script, *ask], env=env).decode().strip().split("|")


def test_a_missing_emulator_is_said_with_the_way_to_get_it() -> None:
    """The hint is the command, for the architecture that is missing."""
    qemu = need("qemu-system-x86_64", package="qemu-system-x86")
    said = told('accelerator.emulator("x86_64")', after=f"mount --bind /dev/null {qemu}")
    install = "  run as root: apt-get install --yes qemu-system-x86"
    assert ["3", "qemu-system-x86_64 is not installed", install] == said


def test_a_tool_that_only_a_component_needs_is_said_as_well() -> None:
    """For a profile with that component, before a machine starts; others do without it."""
    ping = need("ping", package="iputils-ping")
    said = told('components.find_tools(pipeline.resolve("flannel"))', after=f"mount --bind /dev/null {ping}")
    assert ["3", "ping is not installed", "  run as root: apt-get install --yes iputils-ping"] == said
    assert [""] == told(
        'components.find_tools(pipeline.resolve("vm"))', after=f"mount --bind /dev/null {ping}"
    )


def test_too_little_disk_is_said_before_anything_starts(tmp_path: Path) -> None:
    """The message has what is needed, where, and what there is."""
    need("qemu-system-x86_64", package="qemu-system-x86")
    full = f"mount -t tmpfs -o size=64m tmpfs {tmp_path}; echo 'MemAvailable: 99999999 kB' >{tmp_path}/mem"
    question = f'premises.check_machine(pipeline.resolve("vm"), w := Path("{tmp_path}"), meminfo=w / "mem")'
    said = told(question, after=full)
    expected = f"3 machines need 1800 MiB of disk in {tmp_path}, and 63 MiB are free"
    assert ["3", expected] == said[:2]


def test_a_user_who_may_not_make_namespaces_is_told() -> None:
    """The message has the kernel's own words, and the hint two ways out."""
    forbid = "echo 0 >/proc/sys/user/max_net_namespaces"
    question = 'network.private_network(["10.77.0.11/24"]).__enter__()'
    code, message, hint = told(question, after=forbid, user=True)
    assert ("3", True, True) == (
        code,
        message.startswith("this user may not make namespaces: unshare: "),
        "run the lab as root" in hint,
    )


def test_machines_that_cannot_be_joined_to_a_network_are_said() -> None:
    """The hint opens the device to everybody, as udev does, so that the lab need not run as root."""
    without = "mount -t tmpfs tmpfs /dev/net"
    code, message, hint = told('network.private_network(["10.77.0.11/24"]).__enter__()', after=without)
    assert ("3", "/dev/net/tun cannot be opened, so machines cannot be joined to a network", True) == (
        code,
        message,
        "chmod 0666 /dev/net/tun" in hint,
    )


def test_a_second_lab_in_the_same_place_is_refused(tmp_path: Path) -> None:
    """The first one goes on; when it ends, its disks, which nobody else can read, are gone."""
    with premises.only_lab(tmp_path) as work:
        (work / "disk").touch()
        with pytest.raises(UsageError, match="already running"), premises.only_lab(tmp_path):
            pass
        there, mode = (work / "disk").exists(), work.stat().st_mode & 0o777
    assert (True, False, 0o700) == (there, work.exists(), mode)


def test_an_unknown_scenario_is_answered_with_the_known_ones(plan: Plan) -> None:
    """The hint lists all of them."""
    with pytest.raises(UsageError, match=r"cold, staggered, no-clock, power-cut, node-loss, partition"):
        check_playable("warm", plan)


def test_a_data_partition_that_is_not_planned_cannot_be_missing(plan: Plan) -> None:
    """The hint says what to set."""
    with pytest.raises(UsageError, match=r"machine\.data"):
        check_playable("no-data-disk", plan)


def test_scenarios_can_follow_each_other(plan: Plan) -> None:
    """Booting takes long, so what does not need the first start can do with machines that run."""
    expected = ("cold", "partition", "power-cut", "node-loss")
    assert expected == check_playable("cold,partition,power-cut,node-loss", plan)
    assert ("staggered", "wrong-card") == check_playable("staggered,wrong-card", plan)


def test_a_first_start_cannot_come_second(plan: Plan) -> None:
    """The message says what to do."""
    with pytest.raises(UsageError, match="staggered is about the first start of machines: name it first"):
        check_playable("cold,staggered", plan)


def test_a_pi_s_card_always_has_room_for_data() -> None:
    """The node would make the partition that is missing, so there is nothing to see."""
    with pytest.raises(UsageError, match="cannot be missing on a Raspberry Pi"):
        check_playable("no-data-disk", pipeline.resolve("pi3"))
