"""A diskless Alpine in small: its real busybox and e2fsprogs in namespaces, and a card with partitions."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError
from nodebake.formats.card import empty, ext4, ranges
from tests.need import need, need_root, shared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

MINIROOTFS = "alpine-minirootfs-3.20.3-x86_64.tar.gz"
MIB = 1 << 20
SECTOR = 512
# Every program that a script may be cut off before, and once more in the middle of.
STEPS = ("blockdev", "dd", "mkfs.ext4", "mount", "sync", "umount")
_BOOT = """\
set -e
mount --make-rprivate /
cd "$1"
mount -t proc proc proc
mount -t sysfs sys sys
mount --rbind /dev dev
mount -t tmpfs run run
[ -z "$2" ] || { mkdir -p "media/${2##*/}" && mount -o ro "$2" "media/${2##*/}"; }
exec chroot . /bin/busybox sh /boot.sh
"""
# What openrc-run defines, as far as the scripts use it. The first process of the namespace cannot be killed
# from inside: the script is a child.
_SCRIPT = """\
cat >/run/start <<'end'
ebegin() { echo "$*"; }
eend() { code=$1; shift; [ "$code" = 0 ] || echo "failed: $*"; return "$code"; }
ewarn() { echo "warning: $*"; }
for service in %(services)s; do
    (
        [ ! -e "/etc/conf.d/$service" ] || . "/etc/conf.d/$service"
        . "/etc/init.d/$service"
        start
    ) || echo "$service: failed"
done
end
PATH=/steps:$PATH sh /run/start || true
%(then)s
"""
_STEP = """\
#!/bin/busybox sh
name=${0##*/}
count=$(($(cat /run/count 2>/dev/null || echo 0) + 1))
echo "$count" >/run/count
echo "$name" >>/run/steps
if [ "$count" = "$(cat /cut)" ]; then
    PATH=/usr/sbin:/usr/bin:/sbin:/bin "$name" "$@" &
    [ "$(cat /delay)" = 0 ] || usleep "$(cat /delay)"
    kill -9 -1
    exit 9
fi
PATH=/usr/sbin:/usr/bin:/sbin:/bin
[ "$name" = blockdev ] && [ "$1" = --rereadpt ] && {
    blockdev "$@" || exit
    # A kernel that cannot read this kind of table by itself is told.
    [ -e "/sys/class/block/${2##*/}p1" ] || exec partx --add "$2"
    exit 0
}
exec "$name" "$@"
"""


@dataclass(frozen=True, slots=True)
class Alpine:
    """A root directory to start services in."""

    root: Path

    def start(self, *services: str, boot: str = "", then: str = "") -> str:
        """Start the services in namespaces of their own, and return what was said.

        Args:
            services: names in /etc/init.d.
            boot: the partition that the initramfs would have left mounted under /media.
            then: further commands, in the same namespaces.
        """
        (self.root / "boot.sh").write_text(_SCRIPT % {"services": " ".join(services), "then": then})
        unshare = [find("unshare", package="util-linux"), "--mount", "--pid", "--fork", "--kill-child"]
        return run([*unshare, "sh", "-c", _BOOT, "boot", self.root, boot], timeout=60).decode()

    def cut(self, step: int, delay: int = 0) -> None:
        """Have the script killed at its step number `step`, `delay` microseconds into it; 0: not at all."""
        (self.root / "cut").write_text(f"{step}\n")
        (self.root / "delay").write_text(f"{delay}\n")


def alpine(directory: Path) -> Alpine:
    """Make a root directory of Alpine's minirootfs with this machine's e2fsprogs; skip the test without."""
    need_root()
    root = directory / "alpine"
    root.mkdir()
    run(["tar", "-xzf", shared(MINIROOTFS), "-C", root])
    for name, package, links in (
        ("mke2fs", "e2fsprogs", ["mkfs.ext4"]),
        ("e2fsck", "e2fsprogs", ["fsck.ext4"]),
        ("partx", "util-linux", []),
    ):
        _install(Path(need(name, package=package)), root, links)
    (root / "steps").mkdir()
    for name in STEPS:
        step = root / "steps" / name
        step.write_text(_STEP)
        step.chmod(0o755)
    made = Alpine(root)
    made.cut(0)
    return made


def _install(program: Path, root: Path, links: list[str]) -> None:
    libraries = re.findall(r"(/\S+) \(0x", run(["ldd", program]).decode())
    for path in (program, *map(Path, libraries)):
        to = root / str(path).lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
        to.chmod(0o755)
    for link in links:
        (root / "sbin" / link).symlink_to(program)


@dataclass(frozen=True, slots=True)
class Card:
    """A file that is a card."""

    path: Path

    def partition(self, number: int) -> tuple[str, int, int]:
        """Return type, start and size in sectors, as sfdisk reads them."""
        table = json.loads(run([need("sfdisk", package="fdisk"), "--json", self.path]))["partitiontable"]
        found = table["partitions"][number - 1]
        return found["type"], found["start"], found["size"]

    def check(self, number: int) -> str:
        """Return what e2fsck says of the partition's file system; BuildError if it is not clean."""
        _, start, _ = self.partition(number)
        return run(["/sbin/e2fsck", "-fn", f"{self.path}?offset={start * SECTOR}"]).decode()

    @contextmanager
    def inserted(self) -> Iterator[str]:
        """Give the path of a block device with this card in it, its partitions known to the kernel."""
        device = run(["losetup", "--find", "--show", "--partscan", self.path]).decode().strip()
        try:
            if not Path(f"{device}p1").exists():
                with suppress(BuildError):  # no partitions, or a table partx does not know
                    run(["partx", "--add", device])
            yield device
        finally:
            with suppress(BuildError):
                run(["partx", "--delete", device])
            run(["losetup", "--detach", device])


def card(path: Path, table: str, *, size: int = 128 * MIB) -> Card:
    """Make a card whose partition table has the lines `table`, as sfdisk takes them."""
    with path.open("wb") as file:
        file.truncate(size)
    run([need("sfdisk", package="fdisk"), "--quiet", path], stdin=table.encode())
    return Card(path)


def imaged(card_: Card, number: int, label: str, unique: UUID, *, scratch: Path) -> None:
    """Put what an image has as its data partition onto a partition of the card."""
    _, start, size = card_.partition(number)
    data = empty(scratch / "data.ext4", size * SECTOR, label=label, epoch=1_700_000_000)
    with data.image.open("rb") as source, card_.path.open("r+b") as disk:
        ranges.copy(source.fileno(), disk.fileno(), data.ranges, at=start * SECTOR)
        ext4.identify(disk.fileno(), unique, at=start * SECTOR)


def filesystem(card_: Card, number: int, *options: str, content: Path | None = None) -> None:
    """Make an ext4 on a partition of the card."""
    _, start, size = card_.partition(number)
    named = ("-d", content) if content else ()
    size_ = f"{size * SECTOR // 1024}k"
    run(
        [
            *(need("mke2fs", package="e2fsprogs"), "-q", "-F", "-t", "ext4", *options, *named),
            *("-E", f"offset={start * SECTOR}", card_.path, size_),
        ]
    )
