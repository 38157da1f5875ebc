"""Promises of the base and board components: the operating system around etcd."""

from __future__ import annotations

import re
import stat
import sys
import tomllib
import zoneinfo
from typing import TYPE_CHECKING, Any

import pytest

from nodebake import VERSION, pipeline
from nodebake.command import run
from nodebake.components import board
from nodebake.components.mount import unit_name
from tests.components import DEBIAN, EPOCH, KEY, baked, decide, materials, plan_of, text
from tests.need import ROOT, missing, need

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.tree import Tree

USERS = {"users": [{"name": "ada", "ssh_authorized_keys": [KEY], "groups": ["wheel"]}]}
DUAL = [{"name": "m1", "address": ["192.168.7.11/24", "fd00:7::11/64"]}]


def _runlevels(tree: Tree) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path, entry in tree.items():
        if path.startswith("etc/runlevels/") and stat.S_ISLNK(entry.mode):
            _, _, level, service = path.split("/")
            assert f"/etc/init.d/{service}" == entry.content.decode()
            found.setdefault(level, set()).add(service)
    return found


def test_runlevels_are_complete(tmp_path: Path) -> None:
    """With an overlay Alpine enables nothing by itself, so every service it needs is linked."""
    expected = {
        "sysinit": {"cgroups", "devfs", "dmesg", "hwdrivers", "mdev", "modloop", "nodebake-partition"},
        "boot": {
            "bootmisc",
            "hostname",
            "modules",
            "networking",
            "nodebake-clock",
            "nodebake-data",
            "nodebake-programs",
            "seedrng",
            "sysctl",
            "syslog",
        },
        "default": {"chronyd", "etcd", "sshd"},
        "shutdown": {"killprocs", "mount-ro", "savecache"},
    }
    assert expected == _runlevels(baked(plan_of(tmp_path)))


def test_nothing_is_started_that_nobody_asked_for(tmp_path: Path) -> None:
    """Without time servers, keys and partition there is no chronyd, no sshd and no mount."""
    tree = baked(
        plan_of(tmp_path, network={"ntp": []}, access={"ssh_authorized_keys": []}, machine={"data": None})
    )
    services = set().union(*_runlevels(tree).values())
    assert not {"chronyd", "sshd", "nodebake-data", "nodebake-users"} & services
    assert not {"etc/chrony/chrony.conf", "etc/fstab", "root/.ssh/authorized_keys"} & set(tree)
    assert text(tree, "etc/apk/world").split() == ["alpine-base"]


def test_hosts_names_every_node_and_the_shared_names(tmp_path: Path) -> None:
    """Names resolve without a DNS server; a shared name has the address of every member."""
    nodes = [
        {"name": "m1", "address": ["192.168.7.11/24"], "names": ["box"]},
        {"name": "c1", "address": ["192.168.7.21/24"], "role": "client"},
    ]
    lines = text(baked(plan_of(tmp_path, nodes=nodes), "c1"), "etc/hosts").splitlines()
    expected = [
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        "192.168.7.11 m1.edge.example.com m1 box",
        "192.168.7.21 c1.edge.example.com c1",
        "192.168.7.11 etcd etcd.edge.example.com",
    ]
    assert expected == lines


def test_interfaces_has_both_families_and_one_gateway_each(tmp_path: Path) -> None:
    """Every address has a stanza; the gateway stands with the first of its family."""
    network = {"gateway": ["192.168.7.1", "fd00:7::1"]}
    words = [
        line.split()
        for line in text(
            baked(plan_of(tmp_path, nodes=DUAL, network=network)), "etc/network/interfaces"
        ).splitlines()
    ]
    expected = [
        ["iface", "eth0", "inet", "static"],
        ["address", "192.168.7.11"],
        ["netmask", "255.255.255.0"],
        ["gateway", "192.168.7.1"],
        ["iface", "eth0", "inet6", "static"],
        ["address", "fd00:7::11"],
        ["netmask", "64"],
        ["gateway", "fd00:7::1"],
    ]
    assert (
        expected
        == [line for line in words if line[:1] and line[0] in {"iface", "address", "netmask", "gateway"}][1:]
    )


def test_networkd_takes_the_addresses(tmp_path: Path) -> None:
    """The address is there before the cable; nothing comes from router advertisements."""
    lines = text(
        baked(plan_of(tmp_path, nodes=DUAL, **DEBIAN)), "etc/systemd/network/05-nodebake.network"
    ).splitlines()
    expected = {
        "Name=eth0",
        "DHCP=no",
        "IPv6AcceptRA=no",
        "ConfigureWithoutCarrier=yes",
        "Gateway=192.168.7.1",
        "DNS=192.168.7.1",
        "Domains=edge.example.com",
        "Address=192.168.7.11/24",
        "Address=fd00:7::11/64",
    }
    assert expected <= set(lines)


def test_a_seeds_network_is_cloud_inits_and_networkds(tmp_path: Path) -> None:
    """Systemd finds the addresses whoever wrote its files; the resolver and what starts are cloud-init's."""
    tree = baked(plan_of(tmp_path, **DEBIAN | {"outputs": ["nocloud"]}))
    assert "Address=192.168.7.11/24" in text(tree, "etc/systemd/network/05-nodebake.network").splitlines()
    assert not [path for path in tree if path.endswith(("resolv.conf", "wants/systemd-networkd.service"))]


@pytest.mark.parametrize("os", ["alpine", "debian"])
def test_clock_has_a_floor(tmp_path: Path, os: str) -> None:
    """The files whose times the clock must not be behind are there."""
    tree = baked(plan_of(tmp_path, **(DEBIAN if os == "debian" else {})))
    expected = {
        "alpine": {"var/lib/misc/openrc-shutdowntime", "etc/runlevels/boot/nodebake-clock"},
        "debian": {"usr/lib/clock-epoch", "var/lib/systemd/timesync/clock"},
    }[os]
    assert expected <= set(tree)


def test_identity_of_a_machine_is_not_baked(tmp_path: Path) -> None:
    """A machine id that came with the artefact would be the same after every rebuild and copy."""
    for number, changes in enumerate(({}, DEBIAN)):
        directory = tmp_path / str(number)
        directory.mkdir()
        assert "etc/machine-id" not in baked(plan_of(directory, **changes))


def test_fstab_cannot_stop_the_boot(tmp_path: Path) -> None:
    """The data partition is mounted by a service of its own, and never checked by OpenRC's fsck."""
    tree = baked(plan_of(tmp_path))
    (line,) = [line for line in text(tree, "etc/fstab").splitlines() if not line.startswith("#")]
    assert line.split() == ["LABEL=DATA", "/data", "ext4", "noatime,errors=remount-ro,noauto", "0", "0"]
    assert "broken_system_clock = true" in text(tree, "etc/e2fsck.conf")


def test_debian_keeps_its_fstab(tmp_path: Path) -> None:
    """Debian's own fstab names the root; data is a unit that etcd wants, and has to pass a check."""
    machine = {"os": "debian", "board": "vm", "data": {"mountpoint": "/srv/my-data"}}
    tree = baked(plan_of(tmp_path, machine=machine, outputs=["rootfs"]))
    assert "etc/fstab" not in tree
    unit = text(tree, r"etc/systemd/system/srv-my\x2ddata.mount").splitlines()
    assert {"What=/dev/disk/by-label/DATA", "Where=/srv/my-data", "Type=ext4"} <= set(unit)
    escape = need("systemd-escape", package="systemd")
    name = run([escape, "--path", "--template=systemd-fsck@.service", "/dev/disk/by-label/DATA"]).decode()
    assert f"Requires={name.strip()}" in unit
    check = text(tree, f"etc/systemd/system/{name.strip()}.d/nodebake.conf").splitlines()
    started = [line for line in check if line.startswith("ExecStart")]
    assert ["ExecStart=", "ExecStart=/sbin/fsck.ext4 -p %f"] == started
    assert r"etc/systemd/system/multi-user.target.wants/srv-my\x2ddata.mount" in tree
    assert r"Wants=srv-my\x2ddata.mount" in text(tree, "etc/systemd/system/etcd.service").splitlines()


def test_a_missing_data_disk_is_not_waited_for_long(tmp_path: Path) -> None:
    """The device's own unit, by systemd's name for it, gives up after 20 s instead of 90."""
    machine = {"os": "debian", "board": "vm", "data": {"device": "LABEL=my-data"}}
    tree = baked(plan_of(tmp_path, machine=machine, outputs=["rootfs"]))
    escape = need("systemd-escape", package="systemd")
    name = run([escape, "--path", "--suffix=device", "/dev/disk/by-label/my-data"]).decode().strip()
    drop_in = text(tree, f"etc/systemd/system/{name}.d/nodebake.conf").splitlines()
    assert (True, []) == (
        "JobRunningTimeoutSec=20" in drop_in,
        [path for path in tree if "/data.device" in path],
    )


@pytest.mark.parametrize("path", ["/data", "/srv/my-data", "/a/.b_c", "/.x", "/x+y"])
def test_mount_unit_has_systemds_name(path: str) -> None:
    """The unit's name is what systemd itself makes of the path."""
    escape = need("systemd-escape", package="systemd")
    expected = run([escape, "--path", "--suffix=mount", path]).decode().strip()
    assert expected == unit_name(path)


def test_keys_of_root_and_host_are_private(tmp_path: Path) -> None:
    """The SSH server refuses keys that others could change, and nobody else may read the host's."""
    tree = baked(plan_of(tmp_path))
    expected = {
        "root": 0o700,
        "root/.ssh": 0o700,
        "root/.ssh/authorized_keys": 0o600,
        "etc/ssh/ssh_host_ed25519_key": 0o600,
        "etc/ssh/ssh_host_ed25519_key.pub": 0o644,
    }
    assert expected == {path: stat.S_IMODE(tree[path].mode) for path in expected}
    assert f"{KEY}\n" == text(tree, "root/.ssh/authorized_keys")


def test_users_have_an_account_and_keys(tmp_path: Path) -> None:
    """An account is made at boot by a service (Alpine) or by sysusers (Debian)."""
    tree = baked(plan_of(tmp_path, access=USERS))
    assert text(tree, "etc/nodebake/users") == "ada 1500 wheel\n"
    assert f"{KEY}\n" == text(tree, "etc/nodebake/authorized_keys/ada")
    assert "nodebake-users" in _runlevels(tree)["boot"]
    debian = baked(plan_of(tmp_path, access=USERS, **DEBIAN))
    assert (
        text(debian, "etc/sysusers.d/nodebake.conf") == 'u ada 1500 "ada" /home/ada /bin/bash\nm ada wheel\n'
    )


def test_timezone_is_a_link(tmp_path: Path) -> None:
    """A zone other than UTC links /etc/localtime and installs the zones on Alpine."""
    tree = baked(plan_of(tmp_path, system={"timezone": "Europe/Berlin"}))
    assert tree["etc/localtime"].content == b"/usr/share/zoneinfo/Europe/Berlin"
    assert "tzdata" in text(tree, "etc/apk/world").split()


def test_sysctl_and_modules_are_written(tmp_path: Path) -> None:
    """Kernel settings and modules of the profile come beside what the system needs."""
    tree = baked(plan_of(tmp_path, system={"sysctl": {"vm.swappiness": 1}, "modules": ["dummy"]}))
    assert text(tree, "etc/sysctl.d/90-nodebake.conf") == "vm.swappiness = 1\n"
    assert text(tree, "etc/modules-load.d/nodebake.conf").split() == ["dummy"]


def test_release_file_says_what_was_baked(tmp_path: Path) -> None:
    """A node can say which cluster, profile, plan and epoch it was baked from, and by which version."""
    plan = plan_of(tmp_path)
    release = text(baked(plan), "etc/nodebake-release")
    assert {
        "NODE": "m1",
        "CLUSTER": "edge",
        "EPOCH": str(EPOCH),
        "PLAN": f"sha256:{plan.digest()}",
        "BUILDER": f"nodebake {VERSION}",
    }.items() <= dict(re.findall(r'(?m)^(\w+)="(.*)"$', release)).items()


def test_a_plans_digest_is_of_its_values(tmp_path: Path) -> None:
    """A comment in the profile moves every line and changes no node; a changed value does."""
    plan = plan_of(tmp_path)
    path = tmp_path / "edge.yaml"
    path.write_text(f"# a comment\n{path.read_text()}")
    assert plan.digest() == pipeline.resolve(str(path)).digest()
    assert plan.digest() != plan_of(tmp_path, network={"ntp": ["ntp.example.com"]}).digest()


def test_one_version_is_told_everywhere() -> None:
    """What the program calls itself on nodes is what its package is called."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_pi_gets_one_line_and_its_configuration(tmp_path: Path) -> None:
    """The kernel's command line is one line, with the memory controller on."""
    plan = plan_of(tmp_path)
    node = plan.node("m1")
    boot = board.bake(plan, node, materials(plan, node)).boot
    expected = "modules=loop,squashfs,sd-mod,usb-storage quiet console=tty1 cgroup_enable=memory\n"
    assert expected == text(boot, "cmdline.txt")
    assert "gpu_mem=32" in text(boot, "usercfg.txt").splitlines()


@pytest.mark.parametrize(
    ("machine", "place"),
    [
        ({"os": "alpine", "board": "rpi3", "data": {}}, "boot-disk"),
        ({"os": "alpine", "board": "rpi3", "data": {"place": "own-disk"}}, "own-disk"),
        ({"os": "alpine", "board": "rpi3", "data": {"device": "/dev/sda1"}}, "own-disk"),
        ({"os": "alpine", "board": "rpi3", "data": {"filesystem": "f2fs"}}, "own-disk"),
        ({"os": "alpine", "board": "vm", "data": {}}, "boot-disk"),
        ({"os": "debian", "board": "vm", "data": {}}, "own-disk"),
        ({"os": "debian", "board": "rpi3", "data": {}}, "boot-disk"),
    ],
)
def test_nodes_make_only_a_partition_of_their_own(
    tmp_path: Path, machine: dict[str, Any], place: str
) -> None:
    """A partition of the boot disk is made and grown by the node; a disk of its own never is."""
    outputs = ["apkovl" if machine["os"] == "alpine" else "rootfs"]
    plan = plan_of(tmp_path, machine=machine, outputs=outputs)
    services = {path for path in baked(plan) if path.rpartition("/")[2].startswith("nodebake-partition")}
    assert (place == "boot-disk") == bool(services)
    assert place == next(row.value for row in plan.settings if row.path == "machine.data.place")


def test_a_late_disk_is_grown_too(tmp_path: Path) -> None:
    """Under systemd what grows the partition goes with every mount of it, not with the start alone."""
    plan = plan_of(tmp_path, machine={"os": "debian", "board": "rpi3", "data": {}}, outputs=["rootfs"])
    wanted = [path for path in baked(plan) if path.endswith(".wants/nodebake-partition.service")]
    assert wanted == ["etc/systemd/system/data.mount.wants/nodebake-partition.service"]


def test_vm_has_no_boot_files(tmp_path: Path) -> None:
    """A virtual machine boots from its own image."""
    plan = plan_of(tmp_path, **DEBIAN)
    node = plan.node("m1")
    assert len(board.bake(plan, node, materials(plan, node)).boot) == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"access": {"ssh_authorized_keys": ["/home/me/.ssh/id.pub"]}},
            "access.ssh_authorized_keys[0]: is no SSH",
        ),
        ({"access": {"users": [{"name": "sshd"}]}}, "access.users[0].name: sshd is an account of the system"),
        ({"overlays": [{"path": "nowhere"}]}, "overlays[0].path: nowhere is not a directory"),
        (
            {"machine": {"data": {"device": "PARTUUID=1-2"}}},
            "machine.data.device: PARTUUID=1-2 is",
        ),
        (
            {"machine": {"data": {"device": "/dev/sda1", "place": "boot-disk"}}},
            "machine.data.device: a partition that the node makes itself has a label, and /dev/sda1 is none",
        ),
        (
            {"machine": {"data": {"filesystem": "xfs", "place": "boot-disk"}}},
            "machine.data.filesystem: a node can only make ext4 itself, not xfs",
        ),
        ({"system": {"packages": ["htop"]}} | DEBIAN, "system.packages: packages can only come from Alpine"),
    ],
)
def test_what_the_system_cannot_do_is_refused(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    """Mistakes in access, time servers and overlays are found before anything is written."""
    told = "\n".join(str(problem) for problem in decide(tmp_path, **changes)[1])
    assert expected in told
    assert "edge.yaml:" in told


def test_package_that_is_not_on_the_medium_is_a_warning(tmp_path: Path) -> None:
    """The installer drops such a name without a word at the first boot, so we say it."""
    plan = plan_of(tmp_path, system={"packages": ["htop", "doas"]})
    assert any(warning.startswith("htop: not on Alpine's") for warning in plan.warnings)


@pytest.mark.parametrize(
    ("zone", "todo"), [("Europe/Berlim", "did you mean Europe/Berlin?"), ("localtime", "write one such as")]
)
def test_a_time_zone_that_is_none_is_refused(tmp_path: Path, zone: str, todo: str) -> None:
    """A slip in the name would leave the nodes in UTC without a word."""
    if not zoneinfo.available_timezones():
        missing("there are no time zones on this machine (apt-get install tzdata)")
    told = "\n".join(str(problem) for problem in decide(tmp_path, system={"timezone": zone})[1])
    assert f"system.timezone: there is no time zone {zone}; {todo}" in told


def test_a_machine_without_time_zones_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no tz database to look in, every zone is taken, with a warning."""
    monkeypatch.setitem(sys.modules, "tzdata", None)  # PyPI's, which zoneinfo reads besides the system's
    zoneinfo.reset_tzpath(to=())
    try:
        plan = plan_of(tmp_path, system={"timezone": "Europe/Berlin"})
    finally:
        zoneinfo.reset_tzpath()
    expected = "this machine has no time zones (tzdata) to look Europe/Berlin up in"
    assert expected in plan.warnings
