"""Which kind a file is, by its bytes and not by its name."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError, UsageError
from nodebake.formats.packing import zstd_reader
from nodebake.inspection import disk
from nodebake.inspection.files import File, in_gzip, in_zstd, whole
from nodebake.inspection.finding import Finding, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_GZIP, _ZSTD, _QCOW, _AGE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"QFI\xfb", b"age-encryption.org/"
_TAR, _TAR_AT = b"ustar", 257
_ISO, _ISO_AT, _SEED = b"CD001", 0x8001, b"cidata"
_RENEWAL, _RENEWED = "nodebake-renewal/", "nodebake-renewal/files/"
_HEAD = 1 << 16
_BLOCK = 1 << 20


def inspect(path: Path) -> Finding:
    """Return what the file `path` is, and what is in it.

    Raises:
        UsageError: there is no such file, or it is nothing of ours.
        InputError: a tool that reads it is not installed.
        BuildError: it is damaged.
    """
    if path.is_dir() or not path.exists():
        what = "a directory" if path.is_dir() else "not there"
        raise UsageError(
            f"{path} is {what}", hint="name an overlay, a seed's ISO, an archive, an image or a card"
        )
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for fits, read in _KINDS:
        if fits(head):
            return read(path)
    raise UsageError(
        f"{path} is nothing that nodebake writes",
        hint="what it writes for nodes: .apkovl.tar.gz, -seed.iso, .rootfs.tar.zst, .img, .img.zst, .qcow2",
    )


def _gzip(path: Path) -> Finding:
    with path.open("rb") as packed:
        files = in_gzip(packed, path.name)
    names = {one.path for one in files}
    if any(name.startswith(_RENEWAL) for name in names):
        return found("renewal", "what changed since, and the script that lays it over", _renewed(files))
    if "etc/hostname" not in names:
        return found("payload", "what the nodes of a seed share", files)
    if any(name.startswith("etc/systemd/") for name in names):
        return found("payload", "a node's own part of a seed", files)
    return found("apkovl", "an Alpine overlay", files)


def _renewed(files: Sequence[File]) -> Iterator[File]:
    """Yield the files by their place on the node, and what a renewal says of itself as a release file."""
    for one in files:
        if one.path.startswith(_RENEWED):
            path = one.path.removeprefix(_RENEWED)
        elif one.path == f"{_RENEWAL}renewal":
            path = "etc/nodebake-release"
        else:
            continue
        yield File(path=path, mode=one.mode, size=one.size, sha256=one.sha256, content=one.content)


def _zstd(path: Path) -> Finding:
    with path.open("rb") as packed, whole(path.name):
        start = zstd_reader(packed).read(_HEAD)
    if start[_TAR_AT:].startswith(_TAR):
        with path.open("rb") as packed:
            return found("rootfs", "an archive to lay over a root file system", in_zstd(packed, path.name))
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image"
        with path.open("rb") as packed, image.open("wb") as to, whole(path.name):
            plain = zstd_reader(packed)
            while block := plain.read(_BLOCK):
                if block.count(0) == len(block):
                    to.seek(len(block), 1)
                else:
                    to.write(block)
            to.truncate()
        return disk.inspect(image, "image-zst", "an image, compressed")


def _qcow2(path: Path) -> Finding:
    qemu_img = find("qemu-img", package="qemu-utils")
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image"
        run([qemu_img, "convert", "-f", "qcow2", "-O", "raw", path, image])
        return disk.inspect(image, "qcow2", "a virtual machine's disk")


def _iso(path: Path) -> Finding:
    from nodebake.formats.nocloud import iso  # noqa: PLC0415 - slow to import, and few files need it

    with tempfile.TemporaryDirectory() as scratch, path.open("rb") as packed:
        iso.unpack(packed, Path(scratch), name=path.name)
        files: list[File] = []
        for archive in sorted(Path(scratch).glob("*.tar.gz")):
            with archive.open("rb") as inner:
                files += in_gzip(inner, f"{path.name}: {archive.name}")
        if not (Path(scratch) / "user-data").exists():
            raise UsageError(f"{path} is a CD's image, and no seed for cloud-init")
    return found("seed", "a cloud-init seed", files)


def _image(path: Path) -> Finding:
    what = "a card" if path.is_block_device() else "an image"
    return disk.inspect(path, "card" if path.is_block_device() else "image", what)


def _encrypted(path: Path) -> Finding:
    raise BuildError(
        f"{path} is encrypted for its recipients", hint="decrypt it first: age -d -i IDENTITY FILE"
    )


def _begins(magic: bytes, at: int = 0) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magic, at)


_KINDS: Sequence[tuple[Callable[[bytes], bool], Callable[[Path], Finding]]] = (
    (_begins(_GZIP), _gzip),
    (_begins(_ZSTD), _zstd),
    (_begins(_QCOW), _qcow2),
    (_begins(_AGE), _encrypted),
    (_begins(_ISO, _ISO_AT), _iso),
    (disk.has_table, _image),
)
