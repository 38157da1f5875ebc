"""Images, against a plain copy of one and against genimage making the same partitions from the same files."""

from __future__ import annotations

import json
import random
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake import command
from nodebake.formats.card.ranges import digest
from tests.bench.measuring import CHECKOUT, Times, measure
from tests.unit.release import RPI, tarball

if TYPE_CHECKING:
    from nodebake.progress import Progress

TOOLS = {
    "genimage": "genimage",
    "openssl": "openssl",
    "mcopy": "mtools",
    "mkfs.vfat": "dosfstools",
    "mke2fs": "e2fsprogs",
}
FEW, MANY = 3, 7
_MIB = 1 << 20
# What Alpine's release for the Pi has, by number and size of its files; about 105 MB.
_LARGE = {"boot/modloop-rpi": 40 * _MIB, "boot/initramfs-rpi": 18 * _MIB, "boot/vmlinuz-rpi": 10 * _MIB}
_SMALL = {
    "overlays/{}.dtbo": (300, 3000),
    "apks/aarch64/package-{}-r0.apk": (150, 180_000),
    "start{}.elf": (12, 900_000),
}
_HEAD = """\
images of {size} MiB, of a release of some 105 MB that is on its partition already; one more image is what
seven members take longer than three, less what their overlays do"""
_CONFIG = """\
image boot.vfat {{
  vfat {{ extraargs = "-F 32 -n PIBOOT -s {sectors}" files = {{ {files} }} }}
  size = {boot}
}}
image data.ext4 {{
  ext4 {{ label = "DATA" use-mke2fs = true }}
  empty = true
  size = {data}
}}
image disk.img {{
  hdimage {{ align = 4M }}
  partition boot {{ partition-type = 0xC bootable = true image = "boot.vfat" }}
  partition data {{ partition-type = 0x83 image = "data.ext4" }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one image takes, the base cached; in seconds, medians.

    Attributes:
        wall: of one more image, ours, its digest included, all processors at work.
        cpu: the same, processor time.
        digest: of that, what the digest takes: neither `cp` nor genimage has one.
        copy: `cp --sparse=always` of the image.
        both: the same, and the copy's digest: all that an image takes, but for what is the node's own.
        genimage: genimage, the same partitions.
        size: of the image, in bytes.
    """

    wall: float
    cpu: float
    digest: float
    copy: Times
    both: Times
    genimage: Times
    size: int

    def to_json(self) -> dict[str, object]:
        """Return everything that was measured."""
        return {
            "wall": self.wall,
            "cpu": self.cpu,
            "digest": self.digest,
            "copy": self.copy.to_json(),
            "both": self.both.to_json(),
            "genimage": self.genimage.to_json(),
            "size": self.size,
        }


def run(runs: int, *, progress: Progress) -> Result:
    """Measure.

    Raises:
        InputError: a tool is missing.
        BuildError: one of the commands failed.
    """
    for tool, package in TOOLS.items():
        command.find(tool, package=package)
    task = "measuring images"
    progress.start(task, 4)
    with tempfile.TemporaryDirectory(prefix="nodebake-bench-") as scratch:
        place = Path(scratch)
        base = tarball(place / "alpine-rpi-3.20.3-aarch64.tar.gz", _release())
        try:
            return _measured(place, base, runs, progress)
        finally:
            progress.finish(task)


def _measured(place: Path, base: Path, runs: int, progress: Progress) -> Result:
    task = "measuring images"
    # Mints the authority and puts the release onto a partition, both once.
    command.run(_ours(place, MANY, base), cwd=CHECKOUT)
    progress.advance(task)

    images, overlays = _one_more(place, base, runs), _one_more(place, None, runs)
    progress.advance(task)
    command.run(_ours(place, FEW, base), cwd=CHECKOUT)
    node = place / "out/node-0"
    image, copied = node / "node-0.img", place / "copy.img"
    copy: list[str | Path] = ["cp", "--sparse=always", image]
    copies = measure(runs, lambda _: [*copy, _gone(copied)])
    script = '"$@" && exec openssl dgst -sha256 "$5"'
    both = measure(runs, lambda _: ["sh", "-c", script, "sh", *copy, "--", _gone(copied)])
    config = _genimage(place, base, node)
    made = measure(
        runs, lambda _: [*config, "--tmppath", _gone(place / "tmp"), "--outputpath", place / "made"]
    )
    progress.advance(task)
    return Result(
        wall=images[0] - overlays[0],
        cpu=images[1] - overlays[1],
        digest=statistics.median(_digest(image) for _ in range(runs)),
        copy=copies,
        both=both,
        genimage=made,
        size=image.stat().st_size,
    )


def _one_more(place: Path, base: Path | None, runs: int) -> tuple[float, float]:
    """Return wall and processor seconds of one more node."""

    def made(size: int) -> Times:
        return measure(runs, lambda _: _ours(place, size, base))

    few, many = made(FEW), made(MANY)
    return (
        (many.median_wall - few.median_wall) / (MANY - FEW),
        (many.median_cpu - few.median_cpu) / (MANY - FEW),
    )


def text(result: Result) -> str:
    """Return the report's part on images."""
    copy, genimage = result.copy, result.genimage
    assembling = result.cpu - result.digest
    rows = [
        ("one more image, wall", _ms(result.wall), ""),
        ("one more image, cpu", _ms(result.cpu), ""),
        ("  of that its digest, cpu", _ms(result.digest), ""),
        ("cp --sparse=always, wall", _ms(copy.median_wall), ""),
        ("cp --sparse=always, cpu", _ms(copy.median_cpu), ""),
        ("cp --sparse=always, openssl dgst, wall", _ms(result.both.median_wall), ""),
        ("genimage, wall", _ms(genimage.median_wall), ""),
        ("genimage, cpu", _ms(genimage.median_cpu), ""),
        ("ours / cp, wall", f"{result.wall / copy.median_wall:.1f}", "at most 1.5"),
        ("ours / cp and openssl, wall", f"{result.wall / result.both.median_wall:.1f}", ""),
        ("ours / cp, cpu, without the digest", f"{assembling / copy.median_cpu:.1f}", "at most 1.5"),
        ("genimage / ours, wall", f"{genimage.median_wall / result.wall:.1f}", "at least 3"),
        ("genimage / ours, cpu, without the digest", f"{genimage.median_cpu / assembling:.1f}", "at least 3"),
    ]
    lines = [f"  {name:<42} {value:<20} {f'aim: {aim}' if aim else ''}".rstrip() for name, value, aim in rows]
    return "\n".join([_HEAD.format(size=result.size // _MIB), *lines])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _release() -> dict[str, bytes]:
    noise = random.Random(0)  # noqa: S311 - bytes that do not compress, the same every time
    files = dict(RPI) | {name: noise.randbytes(size) for name, size in _LARGE.items()}
    for pattern, (number, size) in _SMALL.items():
        files |= {pattern.format(index): noise.randbytes(size) for index in range(number)}
    return files


def _ours(place: Path, size: int, base: Path | None) -> list[str | Path]:
    """Return the command that makes a cluster of `size` members anew: images of `base`, or overlays only."""
    nodes = [{"name": f"node-{one}", "address": f"10.77.0.{11 + one}/24"} for one in range(size)]
    profile = place / f"bench-{size}.yaml"
    network: dict[str, list[str]] = {"gateway": [], "nameservers": []}
    profile.write_text(json.dumps({"extends": "pi3", "network": network, "nodes": nodes}))
    out = _gone(place / "out")
    images: list[str | Path] = ["--base", base] if base else []
    task = "image" if base else "build"
    vault = place / "vault"
    return [CHECKOUT / "invoke", task, "--profile", profile, "--out", out, "--vault", vault, *images]


def _genimage(place: Path, base: Path, node: Path) -> list[str | Path]:
    """Return genimage's command for what is on the node's card, in partitions of the same size."""
    root = place / "root"
    root.mkdir()
    command.run(["tar", "-C", root, "-xzf", base])
    shutil.copytree(node / "boot", root, dirs_exist_ok=True)
    for path in node.glob("*.apkovl.tar.gz"):
        shutil.copy(path, root)
    image = node / f"{node.name}.img"
    table = json.loads(command.run([command.find("sfdisk", package="fdisk"), "--json", image]))
    boot, data = (one["size"] * 512 for one in table["partitiontable"]["partitions"])
    files = ", ".join(f'"{path.name}"' for path in sorted(root.iterdir()))
    with image.open("rb") as file:
        sectors = file.read(4 * _MIB + 14)[-1]
    config = place / "genimage.cfg"
    config.write_text(_CONFIG.format(sectors=sectors, files=files, boot=boot, data=data))
    return ["genimage", "--config", config, "--rootpath", root, "--inputpath", root]


def _digest(image: Path) -> float:
    start = time.process_time()
    digest(image)
    return time.process_time() - start


def _gone(path: Path) -> Path:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    return path
