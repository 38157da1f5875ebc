"""The NoCloud seed: as files, as an image, and what its first step does on a machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tarfile
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from nodebake import command
from nodebake.components.contract import Baked
from nodebake.formats import nocloud
from nodebake.formats.nocloud import iso
from nodebake.formats.packing import Shared
from nodebake.tree import Tree, file, merge
from tests.need import ROOT, need, need_root
from tests.unit.target import BINARY, EPOCH, PROFILE, baked, plan

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.manifest import Artifact
    from nodebake.plan import Plan

ARCHIVES = ("shared.tar.gz", "node.tar.gz")
FILES = ("user-data", "meta-data", "network-config", *ARCHIVES)
FLOOR = Tree({"usr/lib/clock-epoch": file(b"")})


def write(
    cluster: Plan, directory: Path, name: str = "x-1", shared: Shared | None = None, more: Tree = FLOOR
) -> Path:
    """Write a node's seed below `directory` and return its own directory."""
    artifacts(cluster, directory, name, shared or Shared(epoch=EPOCH), more)
    return directory / name


def artifacts(
    cluster: Plan, directory: Path, name: str, shared: Shared, more: Tree = FLOOR
) -> tuple[Artifact, ...]:
    """Write a node's seed below `directory` and return what was told of it."""
    out = directory / name
    out.mkdir(parents=True, exist_ok=True)
    files = Baked(root=merge(baked(name).root, more))
    return nocloud.write(cluster, cluster.node(name), files, out=out, epoch=EPOCH, shared=shared)


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    """Return the directory of x-1's seed."""
    return write(plan(tmp_path), tmp_path)


def test_cloud_init_accepts_user_data(seed: Path) -> None:
    """`cloud-init schema` finds no fault."""
    cloud_init = need("cloud-init", package="cloud-init")
    assert b"Valid" in command.run([cloud_init, "schema", "--config-file", seed / "user-data"])


def test_cloud_init_reads_the_network(seed: Path, tmp_path: Path) -> None:
    """cloud-init's own converter renders our addresses and routes for networkd and netplan."""
    cloud_init = need("cloud-init", package="cloud-init")
    for kind in ("networkd", "netplan"):
        out = tmp_path / kind
        command.run(
            [cloud_init, "devel", "net-convert", "--network-data", seed / "network-config", "--kind", "yaml",
             "--output-kind", kind, "--distro", "debian", "--directory", out]
        )  # fmt: skip
        text = "".join(path.read_text() for path in out.rglob("*") if path.is_file())
        assert "192.168.7.11/24" in text
        assert "192.168.7.1" in text


@pytest.mark.parametrize(
    ("interface", "name", "match"), [("en*", "cluster", {"name": "en*"}), ("eth0", "eth0", None)]
)
def test_a_pattern_matches_and_a_name_is_taken(
    tmp_path: Path, interface: str, name: str, match: object
) -> None:
    """An interface's pattern becomes a match; a plain name needs none."""
    cluster = plan(tmp_path, PROFILE.replace("en*", interface))
    document = json.loads(nocloud.network_config(cluster, cluster.node("x-2")))
    assert document["version"] == 2
    ethernet = document["ethernets"][name]
    assert ethernet.get("match") == match
    assert ethernet["addresses"] == ["192.168.7.12/24", "fd00::12/64"]
    assert ethernet["routes"] == [{"to": "0.0.0.0/0", "via": "192.168.7.1"}]
    assert ethernet["nameservers"] == {"addresses": ["192.168.7.1"], "search": ["edge.example.com"]}


def test_an_ipv6_gateway_is_a_route_of_its_family(tmp_path: Path) -> None:
    """Dual stack has a default route per family."""
    cluster = plan(
        tmp_path,
        PROFILE.replace("gateway: [192.168.7.1]", 'gateway: [192.168.7.1, "fd00::1"]')
        .replace("192.168.7.11/24]", '192.168.7.11/24, "fd00::11/64"]')
        .replace("192.168.7.13/24]", '192.168.7.13/24, "fd00::13/64"]'),
    )
    document = json.loads(nocloud.network_config(cluster, cluster.nodes[0]))
    assert {"to": "::/0", "via": "fd00::1"} in document["ethernets"]["cluster"]["routes"]


def test_the_instance_changes_with_its_contents(tmp_path: Path) -> None:
    """meta-data has `instance-id` with a hyphen; another payload is another instance, the same one is not."""
    cluster = plan(tmp_path)
    ids = []
    for number, name in enumerate(("x-1", "x-1", "x-2")):
        meta = json.loads((write(cluster, tmp_path / str(number), name) / "meta-data").read_text())
        ids.append(meta["instance-id"])
        assert meta["local-hostname"] == name
    assert ids[0] == ids[1]
    assert ids[0].removeprefix("x-1-") != ids[2].removeprefix("x-2-")


def test_the_payload_is_the_nodes_files(seed: Path) -> None:
    """Everything is on board, once, and user-data knows the archives' digests and what to start."""
    names = []
    for name in ARCHIVES:
        with tarfile.open(seed / name) as archive:
            names += archive.getnames()
    assert sorted(names) == sorted({*baked().root, *FLOOR})
    user = (seed / "user-data").read_text()
    assert user.startswith("#cloud-config\n")
    assert json.loads(user.partition("\n")[2])["bootcmd"][0][3:] == ["unpack", *digests(seed), "etcd.service"]


def test_both_archives_are_whole(seed: Path) -> None:
    """Gzip and tar find an end in each: nothing is cut off, nothing follows."""
    for name in ARCHIVES:
        assert command.run(["gzip", "-dc", seed / name])[-1024:] == bytes(1024)
        assert command.run(["tar", "-tzf", seed / name])


def test_nodes_share_one_file(tmp_path: Path) -> None:
    """The shared archive is on the disk once, after a first build and after another over it."""
    cluster = plan(tmp_path)
    for _ in range(2):
        shared = Shared(epoch=EPOCH)
        for node in cluster.nodes:
            write(cluster, tmp_path / "b", node.name, shared)
        found = [(tmp_path / "b" / node.name / "shared.tar.gz").stat() for node in cluster.nodes]
        assert [(one.st_ino, one.st_nlink) for one in found] == [(found[0].st_ino, 3)] * 3
        assert not list((tmp_path / "b").rglob(".part-*"))


def test_a_copy_where_links_do_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links every node has a file of its own, and the manifest is right."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    cluster, shared = plan(tmp_path), Shared(epoch=EPOCH)
    for node in cluster.nodes:
        for told in artifacts(cluster, tmp_path / "b", node.name, shared):
            path = tmp_path / "b" / told.path
            assert told.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            assert told.path.startswith(f"{node.name}/")
            assert (path.stat().st_nlink, path.stat().st_mtime) == (1, EPOCH)


def test_all_of_it_is_private(seed: Path) -> None:
    """The seed has keys in it."""
    assert {stat.S_IMODE(path.stat().st_mode) for path in seed.iterdir()} == {0o600}


def test_the_image_has_the_same_files(seed: Path) -> None:
    """By isoinfo every file is found by its lower-case name."""
    isoinfo, image = need("isoinfo", package="genisoimage"), seed / "x-1-seed.iso"
    for name in FILES:
        content = command.run([isoinfo, "-i", image, "-R", "-x", f"/{name}"])
        expected = (seed / name).read_bytes()
        assert content.rstrip(b"\n") == expected.rstrip(b"\n")


def test_the_image_is_labelled_and_whole(seed: Path) -> None:
    """The label is what cloud-init looks for, by blkid; the volume is as long as the file."""
    image = seed / "x-1-seed.iso"
    blkid = need("blkid", package="util-linux")
    assert command.run([blkid, "-p", "-o", "value", "-s", "LABEL", image]) == b"cidata\n"
    isoinfo = need("isoinfo", package="genisoimage")
    told = command.run([isoinfo, "-d", "-i", image]).decode()
    assert f"Volume size is: {image.stat().st_size // 2048}\n" in told
    assert image.stat().st_size % 2048 == 0


def test_xorriso_finds_no_fault(seed: Path) -> None:
    """Another implementation reads the image and lists the five files."""
    xorriso = need("xorriso", package="xorriso")
    listing = command.run([xorriso, "-indev", seed / "x-1-seed.iso", "-find", "/", "-type", "f"]).decode()
    assert sorted(listing.split()) == sorted(f"'/{name}'" for name in FILES)


def test_the_image_does_not_depend_on_clock_or_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its times are ours: another hour in another zone gives the same bytes."""
    slots = [iso.Slot(name=name, size=5000) for name in FILES]
    first = iso.head(slots, epoch=EPOCH)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    later = time.time() + 400_000
    monkeypatch.setattr(time, "time", lambda: later)
    try:
        assert iso.head(slots, epoch=EPOCH) == first
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_further_node_shares_the_images_layout(tmp_path: Path) -> None:
    """Nodes' images differ only behind the common prefix, which is made once."""
    cluster, shared = plan(tmp_path), Shared(epoch=EPOCH)
    images = [
        (write(cluster, tmp_path / "b", node.name, shared) / f"{node.name}-seed.iso").read_bytes()
        for node in cluster.nodes[:2]
    ]
    size = shared.prefix(baked().root.split()[0], "gzip").size
    assert images[0][:size] == images[1][:size]
    assert len(images[0]) - size < 64 << 10


def test_the_images_system_area_is_a_hole(seed: Path) -> None:
    """What nobody uses takes no room on the disk."""
    with (seed / "x-1-seed.iso").open("rb") as image:
        if os.lseek(image.fileno(), 0, os.SEEK_HOLE) == os.fstat(image.fileno()).st_size:
            pytest.skip("this file system has no holes")
        assert os.lseek(image.fileno(), 0, os.SEEK_DATA) == 32 << 10


START = "systemctl --no-block start etcd.service"
FIRST = f"{START} nodebake-first.target"
SETTINGS = "systemctl --no-block restart systemd-modules-load systemd-sysctl"
STUBS = ("systemctl", "systemd-sysusers", "systemd-tmpfiles", "blkid")
STUB = """\
#!/bin/sh
echo "{name} $*" >>/ran
[ "$1" != show ] || echo "NeedDaemonReload=$(cat /stale)"
[ {name} != blkid ]
"""
CLOCK = '#!/bin/sh\n[ "$*" != +%s ] || exec cat /now\necho "date $*" >>/ran\n'


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return a directory with what it takes to lay a machine's root over ours and boot it."""
    need_root()
    need("unshare", package="util-linux")
    for name in ("stubs", "mnt", "after"):
        (tmp_path / name).mkdir()
    for name in (*STUBS, "date"):
        stub = tmp_path / "stubs" / name
        stub.write_text(CLOCK if name == "date" else STUB.format(name=name))
        stub.chmod(0o755)
    return tmp_path


def boot(
    machine: Path,
    *steps: tuple[Path | None, tuple[str, str]],
    now: int = EPOCH,
    stale: str = "no",
) -> list[str]:
    """Boot the machine; return what its first step ran.

    Args:
        machine: where.
        steps: one per boot: the seed that is attached, and the digests in user-data.
        now: the machine's clock.
        stale: whether systemd has read an older version of the unit, which is there then.
    """
    lines = [
        f"set -eu; mount -t tmpfs tmpfs '{machine}/mnt'; cd '{machine}/mnt'",
        "mkdir upper work root; mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root",
        "mkdir -p root/run/nodebake root/root; : >root/ran; mount -t proc proc root/proc",
        f"cp -r '{machine}/stubs' root/stubs; echo {now} >root/now; echo {stale} >root/stale; status=0",
    ]
    if stale == "yes":
        lines.append("echo '[Unit]' >root/etc/systemd/system/etcd.service")
    for seed, digests_ in steps:
        lines.append("rm -rf root/var/lib/cloud/seed; mkdir -p root/var/lib/cloud/seed/nocloud")
        if seed:
            lines.append(f"cp '{seed}'/* root/var/lib/cloud/seed/nocloud/")
        first_step = f'sh -c "$UNPACK" unpack {" ".join(digests_)} etcd.service'
        lines.append(f"PATH=/stubs:$PATH chroot root {first_step} || status=$?; echo booted >>root/ran")
    lines.append(f"cp -a upper/. '{machine}/after/'; exit $status")
    script = (ROOT / "overlays/seed/nocloud/unpack").read_text()
    command.run(["unshare", "--mount", "sh", "-c", "\n".join(lines)], env={"UNPACK": script})
    return (machine / "after/ran").read_text().splitlines()


def digests(seed: Path) -> tuple[str, str]:
    """Return both archives' digests."""
    one, other = (hashlib.sha256((seed / name).read_bytes()).hexdigest() for name in ARCHIVES)
    return one, other


def test_the_first_boot_lays_out_the_files_and_starts_etcd(machine: Path, seed: Path) -> None:
    """Contents, modes and owners are the payload's; etcd is started without waiting for it."""
    ran = boot(machine, (seed, digests(seed)))
    after = machine / "after"
    assert (after / "usr/local/bin/etcd").read_bytes() == BINARY
    assert stat.S_IMODE((after / "etc/etcd/pki/server.key").stat().st_mode) == 0o600
    assert (after / "etc/etcd/pki/server.key").stat().st_uid == 0
    assert ran == [
        "systemctl start local-fs.target",
        FIRST,
        "booted",
    ]


def test_the_rest_of_cloud_inits_work_waits_for_etcd(machine: Path, seed: Path) -> None:
    """On a small machine it would take the processor from etcd, which starts; it does not wait for ever."""
    analyze = need("systemd-analyze", package="systemd")
    boot(machine, (seed, digests(seed)))
    unit = machine / "after/run/systemd/system/nodebake-first.target"
    held = {"systemd-networkd-wait-online.service", "cloud-init-network.service", "cloud-init.service"}
    before = [line for line in unit.read_text().splitlines() if line.startswith("Before=")]
    assert [set(line.removeprefix("Before=").split()) for line in before] == [held]
    assert re.search(r"^JobTimeoutSec=\d+\.\d+$", unit.read_text(), re.MULTILINE)
    command.run([analyze, "verify", "--recursive-errors=one", "--man=no", unit])


def test_a_boot_that_cannot_be_held_back_is_a_boot(machine: Path, seed: Path) -> None:
    """Where systemd refuses the target, for a cycle, the payload counts as laid out all the same."""
    stub = machine / "stubs/systemctl"
    stub.write_text(stub.read_text() + "case $* in *nodebake-first.target*) exit 1 ;; esac\n")
    ran = boot(machine, (seed, digests(seed)), (None, digests(seed)))
    assert (ran.count(FIRST), ran.count(START)) == (1, 1)
    assert (machine / "after/var/lib/nodebake/payload").exists()


def test_units_that_systemd_has_read_are_read_again(machine: Path, seed: Path) -> None:
    """Where systemd knows an older etcd.service it reads all units anew before it starts anything."""
    ran = boot(machine, (seed, digests(seed)), stale="yes")
    assert ran[-3:-1] == ["systemctl daemon-reload", FIRST]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("etc/sysctl.d/90-nodebake.conf", [SETTINGS]),
        ("etc/modules-load.d/nodebake.conf", [SETTINGS]),
        ("etc/tmpfiles.d/mine.conf", ["systemd-sysusers", "systemd-tmpfiles --create"]),
        ("etc/systemd/timesyncd.conf.d/x.conf", ["systemctl --no-block try-restart systemd-timesyncd"]),
        ("etc/systemd/system/ssh.service.d/x.conf", ["systemctl daemon-reload"]),
        ("etc/systemd/system/x.device.d/x.conf", []),
        ("etc/systemd/system/systemd-fsck@x.service.d/x.conf", []),
    ],
)
def test_what_was_read_too_early_is_read_again(
    machine: Path, tmp_path: Path, path: str, expected: list[str]
) -> None:
    """Only what the payload brings is refreshed: each program started costs a slow machine time."""
    seed = write(plan(tmp_path), tmp_path, more=Tree({path: file(b"")}))
    ran = boot(machine, (seed, digests(seed)))
    assert expected == [line.strip() for line in ran[1:-2]]


def test_the_second_boot_changes_nothing(machine: Path, seed: Path) -> None:
    """The payload is laid out once; the seed may be gone after that."""
    ran = boot(machine, (seed, digests(seed)), (None, digests(seed)))
    assert ran.count(FIRST) == 1


def test_new_files_of_the_nodes_own_do_without_the_shared_ones(
    machine: Path, seed: Path, tmp_path: Path
) -> None:
    """Another node archive beside the same shared digest is laid out, and the shared archive is not read."""
    other = write(plan(tmp_path), tmp_path / "other", "x-2")
    (other / "shared.tar.gz").unlink()
    new = (digests(seed)[0], hashlib.sha256((other / "node.tar.gz").read_bytes()).hexdigest())
    ran = boot(machine, (seed, digests(seed)), (other, new), (None, new))
    assert (machine / "after/etc/hostname").read_text() == "x-2\n"
    assert (machine / "after/var/lib/nodebake/payload").read_text() == f"{new[0]} {new[1]}\n"
    assert ran.count(FIRST) == 2


@pytest.mark.parametrize("which", [0, 1])
def test_another_payload_is_not_unpacked(machine: Path, seed: Path, which: int) -> None:
    """Where one archive is not the one user-data speaks of, neither is unpacked and the step fails."""
    asked = list(digests(seed))
    asked[which] = "0" * 64
    with pytest.raises(Exception, match="are they on the seed"):
        boot(machine, (seed, (asked[0], asked[1])))
    assert not (machine / "after/usr/local/bin/etcd").exists()


def test_a_clock_in_1970_is_lifted_before_anything_starts(machine: Path, seed: Path) -> None:
    """The certificates are valid when the first unit starts: the clock is set to the payload's time."""
    ran = boot(machine, (seed, digests(seed)), (None, digests(seed)), now=100)
    assert ran[1] == f"date -u -s @{EPOCH}"
    assert len([line for line in ran if line.startswith("date")]) == 1


def test_a_clock_is_never_set_back(machine: Path, seed: Path) -> None:
    """A machine that knows the time keeps it."""
    ran = boot(machine, (seed, digests(seed)), now=EPOCH + 1)
    assert not [line for line in ran if line.startswith("date")]
