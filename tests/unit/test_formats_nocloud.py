"""The NoCloud seed: as files, as an image, and what its first step does on a machine."""

from __future__ import annotations

import hashlib
import json
import stat
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from nodebake import command
from nodebake.formats import nocloud
from nodebake.formats.nocloud import iso
from nodebake.formats.packing import Shared
from tests.need import ROOT, need, need_root
from tests.unit.target import BINARY, EPOCH, PROFILE, baked, plan

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.plan import Plan

FILES = ("user-data", "meta-data", "network-config", "payload.tar.gz")


def write(cluster: Plan, directory: Path, name: str = "x-1", shared: Shared | None = None) -> Path:
    """Write a node's seed below `directory` and return its own directory."""
    out = directory / name
    out.mkdir(parents=True)
    shared = shared or Shared(epoch=EPOCH)
    nocloud.write(cluster, cluster.node(name), baked(name), out=out, epoch=EPOCH, shared=shared)
    return out


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
    """Everything is on board, and user-data knows the payload's digest and what to start."""
    with tarfile.open(seed / "payload.tar.gz") as archive:
        assert set(archive.getnames()) == set(baked().root)
    digest = hashlib.sha256((seed / "payload.tar.gz").read_bytes()).hexdigest()
    user = (seed / "user-data").read_text()
    assert user.startswith("#cloud-config\n")
    assert json.loads(user.partition("\n")[2])["bootcmd"][0][3:] == ["unpack", digest, "etcd.service"]


def test_all_of_it_is_private(seed: Path) -> None:
    """The seed has keys in it."""
    assert {stat.S_IMODE(path.stat().st_mode) for path in seed.iterdir()} == {0o600}


@pytest.mark.parametrize("names", ["-R", "-J"])
def test_the_image_has_the_same_files(seed: Path, names: str) -> None:
    """By isoinfo every file is found by its lower-case name, with Rock Ridge and with Joliet."""
    isoinfo, image = need("isoinfo", package="genisoimage"), seed / "x-1-seed.iso"
    for name in FILES:
        content = command.run([isoinfo, "-i", image, names, "-x", f"/{name}"])
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
    """Another implementation reads the image and lists the four files."""
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
    assert len(images[0]) - size < (64 << 10) + (64 << 10)  # own files, and the image's descriptors


@pytest.fixture
def machine(tmp_path: Path, seed: Path) -> Path:
    """Return a directory with a script that lays a machine's root over ours and runs the first step in it."""
    need_root()
    need("unshare", package="util-linux")
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name in ("systemctl", "systemd-sysusers", "systemd-tmpfiles", "blkid"):
        stub = stubs / name
        stub.write_text(f'#!/bin/sh\necho "{name} $*" >>/ran\n[ {name} != blkid ]\n')
        stub.chmod(0o755)
    (tmp_path / "boot").write_text(f"""#!/bin/sh
set -eu
mount -t tmpfs tmpfs "{tmp_path}/mnt"
cd "{tmp_path}/mnt"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mkdir -p root/var/lib/cloud/seed/nocloud root/run/nodebake root/lib64x root/root
cp -r "{stubs}" root/stubs
cp "{seed}"/* root/var/lib/cloud/seed/nocloud/
: >root/ran
status=0
for boot in $(seq "$1"); do
    PATH=/stubs:$PATH chroot root sh /overlay-unpack "$2" etcd.service || status=$?
    rm -rf root/var/lib/cloud/seed/nocloud
done
cp -a upper/. "{tmp_path}/after/"
exit $status
""")
    (tmp_path / "mnt").mkdir()
    (tmp_path / "after").mkdir()
    return tmp_path


def boot(machine: Path, digest: str, *, times: int = 1) -> list[str]:
    """Boot the machine; return what its first step ran."""
    script = (ROOT / "overlays/seed/nocloud/unpack").read_text()
    text = (machine / "boot").read_text().replace("sh /overlay-unpack", 'sh -c "$UNPACK" unpack')
    command.run(["unshare", "--mount", "sh", "-c", text, "boot", str(times), digest], env={"UNPACK": script})
    return (machine / "after/ran").read_text().splitlines()


def digest_of(seed: Path) -> str:
    """Return the payload's digest."""
    return hashlib.sha256((seed / "payload.tar.gz").read_bytes()).hexdigest()


def test_the_first_boot_lays_out_the_files_and_starts_etcd(machine: Path, seed: Path) -> None:
    """Contents, modes and owners are the payload's; etcd is started without waiting for it."""
    ran = boot(machine, digest_of(seed))
    after = machine / "after"
    assert (after / "usr/local/bin/etcd").read_bytes() == BINARY
    assert stat.S_IMODE((after / "etc/etcd/pki/server.key").stat().st_mode) == 0o600
    assert (after / "etc/etcd/pki/server.key").stat().st_uid == 0
    assert ran[-1] == "systemctl --no-block start etcd.service"
    assert "systemctl daemon-reload" in ran


def test_the_second_boot_changes_nothing(machine: Path, seed: Path) -> None:
    """The payload is laid out once; the seed may be gone after that."""
    assert boot(machine, digest_of(seed), times=2).count("systemctl daemon-reload") == 1


def test_another_payload_is_not_unpacked(machine: Path) -> None:
    """A payload that is not the one user-data speaks of is left alone, and the step fails."""
    with pytest.raises(Exception, match="is it on the seed"):
        boot(machine, "0" * 64)
    assert not (machine / "after/usr/local/bin/etcd").exists()
