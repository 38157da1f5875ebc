"""The Pi's firmware, played: cards made by sfdisk and mtools, good ones and bad ones."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from nodebake import command
from nodebake.errors import BuildError
from nodebake.lab import firmware
from tests.cards import CONFIG, KERNEL, card, device_tree, fill, released
from tests.need import need

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Changes = dict[str, bytes | str | None]


def changed(changes: Changes) -> dict[str, bytes]:
    """Return the release's files with `changes`: None takes a file away, a text is a device tree's source."""
    made = {name: device_tree(new) if isinstance(new, str) else new for name, new in changes.items()}
    return {name: content for name, content in {**released(), **made}.items() if content is not None}


def config(*lines: str) -> bytes:
    """Return the release's `config.txt` with more lines."""
    return CONFIG + "".join(f"{line}\n" for line in lines).encode()


def test_a_release_s_card_starts(tmp_path: Path) -> None:
    """Kernel, initramfs and device tree are the card's, and its command line counts as it is."""
    loaded = firmware.load(card(tmp_path / "card.img", released()))
    assert (
        firmware.Loaded(
            kernel=KERNEL,
            initramfs=b"initramfs",
            device_tree=released()["bcm2710-rpi-3-b.dtb"],
            cmdline="modules=loop,squashfs quiet console=tty1",
            console="ttyS1",
            log=("starts boot/vmlinuz-rpi, bcm2710-rpi-3-b.dtb, boot/initramfs-rpi",),
        )
        == loaded
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"boot/vmlinuz-rpi": gzip.compress(KERNEL)}, {"kernel": KERNEL}),
        (
            {"config.txt": b"kernel=my8.img\n", "my8.img": KERNEL},
            {"kernel": KERNEL, "initramfs": b""},
        ),
        ({"config.txt": b"", "kernel8.img": KERNEL}, {"kernel": KERNEL}),
        ({"config.txt": b"arm_64bit=1\n", "kernel8.img": KERNEL, "kernel7.img": b"x"}, {"kernel": KERNEL}),
        (
            {"config.txt": config("initramfs a,b followkernel"), "a": b"one", "b": b"two"},
            {"initramfs": b"onetwo"},
        ),
        ({"config.txt": config("initramfs a 0x02700000"), "a": b"a"}, {"initramfs": b"a"}),
        ({"config.txt": config("ramfsfile=a"), "a": b"a"}, {"initramfs": b"a"}),
        ({"config.txt": config("cmdline=other.txt"), "other.txt": b"other"}, {"cmdline": "other"}),
        ({"cmdline.txt": b"console=serial0,115200 a\r\n"}, {"cmdline": "console=ttyS1,115200 a"}),
        ({"cmdline.txt": b"CMDLINE.TXT"}, {"cmdline": "CMDLINE.TXT"}),
        (
            {"bcm2710-rpi-3-b.dtb": 'chosen { bootargs = "coherent_pool=1M"; };'},
            {"cmdline": "coherent_pool=1M modules=loop,squashfs quiet console=tty1"},
        ),
        (
            {"config.txt": config("upstream_kernel=1"), "bcm2837-rpi-3-b.dtb": "a {};"},
            {"device_tree": "a {};"},
        ),
        ({"config.txt": config("upstream_kernel=1")}, {"device_tree": ""}),
        (
            {"config.txt": config("device_tree=own.dtb"), "own.dtb": "b {};"},
            {"device_tree": "b {};"},
        ),
        (
            {
                "config.txt": b"os_prefix=new/\nkernel=k8.img\ninitramfs /old",
                "new/k8.img": KERNEL,
                "new/bcm2710-rpi-3-b.dtb": "",
                "new/cmdline.txt": b"new",
                "old": b"old",
            },
            {"cmdline": "new", "initramfs": b"old"},
        ),
        (
            {"config.txt": config("os_prefix=new/"), "new/cmdline.txt": b"new"},
            {"initramfs": b"initramfs", "cmdline": "modules=loop,squashfs quiet console=tty1"},
        ),
        ({"config.txt": config("gpu_mem=16"), "start_cd.elf": b"", "fixup_cd.dat": b""}, {}),
        ({"config.txt": config("start_x=1"), "start_x.elf": b"", "fixup_x.dat": b""}, {}),
    ],
)
def test_what_config_txt_asks_for_starts(
    tmp_path: Path, changes: Changes, expected: Mapping[str, object]
) -> None:
    """Names, defaults and prefixes follow the documentation."""
    loaded = firmware.load(card(tmp_path / "card.img", changed(changes)))
    wanted = {
        name: device_tree(str(value)) if name == "device_tree" else value for name, value in expected.items()
    }
    assert wanted == {name: getattr(loaded, name) for name in expected}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"bootcode.bin": None}, "bootcode.bin not there"),
        ({"start.elf": None, "fixup.dat": None}, "start.elf, fixup.dat not there"),
        ({"config.txt": config("gpu_mem=16")}, "start_cd.elf, fixup_cd.dat not there"),
        ({"config.txt": config("start_file=mine.elf")}, "mine.elf not there"),
        ({"config.txt": None}, "kernel7.img not there"),
        ({"config.txt": config("kernel=gone.img")}, "gone.img not there"),
        ({"boot/initramfs-rpi": None}, "boot/initramfs-rpi not there"),
        ({"bcm2710-rpi-3-b.dtb": None}, "bcm2710-rpi-3-b.dtb not there"),
        (
            {"boot/vmlinuz-rpi": None, "bcm2710-rpi-3-b.dtb": None},
            "boot/vmlinuz-rpi, bcm2710-rpi-3-b.dtb not there",
        ),
        ({"config.txt": config("device_tree=gone.dtb")}, "gone.dtb not there"),
        ({"config.txt": config("device_tree=")}, "device_tree= is empty"),
        ({"bcm2710-rpi-3-b.dtb": b"no tree"}, "bcm2710-rpi-3-b.dtb is not a device tree"),
        ({"bcm2710-rpi-3-b.dtb": b"\xd0\x0d\xfe\xed broken"}, "bcm2710-rpi-3-b.dtb is not a device tree"),
        ({"boot/vmlinuz-rpi": b"\0" * 99}, "not a 64-bit kernel"),
        ({"boot/vmlinuz-rpi": gzip.compress(b"\0" * 99)}, "not a 64-bit kernel"),
        ({"boot/vmlinuz-rpi": gzip.compress(KERNEL)[:-9]}, "broken gzip file"),
        ({"boot/vmlinuz-rpi": b"\xfd7zXZ\0" + KERNEL}, "not a 64-bit kernel"),
        ({"config.txt": config("arm_64bit=0")}, "starts in 32-bit mode"),
        ({"config.txt": b"kernel=boot/vmlinuz-rpi\n"}, "starts in 32-bit mode"),
    ],
)
def test_what_the_firmware_cannot_start_is_refused(tmp_path: Path, changes: Changes, expected: str) -> None:
    """Each has an error of its own, with the card's name."""
    path = card(tmp_path / "card.img", changed(changes))
    with pytest.raises(BuildError, match=rf"card\.img: .*{expected}"):
        firmware.load(path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cmdline.txt": b"one\ntwo\n"}, ("cmdline.txt: only its first line counts",)),
        (
            {"cmdline.txt": b" \n"},
            ("cmdline.txt is empty or not there: the firmware takes a command line of its own",),
        ),
        (
            {"cmdline.txt": None},
            ("cmdline.txt is empty or not there: the firmware takes a command line of its own",),
        ),
        (
            {"usercfg.txt": b"gpu_mem=32\n"},
            ("usercfg.txt:1: gpu_mem has no effect: the boot code reads config.txt only",),
        ),
        (
            {
                "usercfg.txt": b"dtoverlay=disable-bt\ndtoverlay=i2c-rtc,ds1307\ndtoverlay=\n",
                "overlays/i2c-rtc.dtbo": b"",
            },
            (
                "overlay disable-bt: overlays/disable-bt.dtbo is not there",
                "overlay i2c-rtc: not for an emulated Pi",
            ),
        ),
        (
            {"config.txt": config("initramfs x nowhere")},
            ("config.txt:5: not `initramfs FILE followkernel` or an address: ignored",),
        ),
    ],
)
def test_what_has_no_effect_is_said(tmp_path: Path, changes: Changes, expected: tuple[str, ...]) -> None:
    """The firmware goes on, as the real one does, and the console says what it passed over."""
    loaded = firmware.load(card(tmp_path / "card.img", changed(changes)))
    assert expected == loaded.log[1:]


def test_only_the_first_line_of_cmdline_txt_counts(tmp_path: Path) -> None:
    """What stands below it never reaches the kernel."""
    loaded = firmware.load(card(tmp_path / "card.img", changed({"cmdline.txt": b"one\ntwo\n"})))
    assert "one" == loaded.cmdline


@pytest.mark.parametrize("kind", ["06", "0b", "0c", "0e"])
def test_a_fat_partition_starts(tmp_path: Path, kind: str) -> None:
    """All four types that mean FAT are good."""
    assert KERNEL == firmware.load(card(tmp_path / "card.img", released(), kind=kind)).kernel


@pytest.mark.parametrize("kind", ["ef", "83", "1c"])
def test_another_type_of_partition_is_refused(tmp_path: Path, kind: str) -> None:
    """Even if the file system is FAT, and an EFI system partition."""
    path = card(tmp_path / "card.img", released(), kind=kind)
    with pytest.raises(BuildError, match=f"type 0x{kind}"):
        firmware.load(path)


def test_a_gpt_is_refused(tmp_path: Path) -> None:
    """Its protective MBR has nothing to boot from."""
    path = card(tmp_path / "card.img", released())
    command.run([need("sfdisk", package="fdisk"), "--quiet", path], stdin=b"label: gpt\n2048,40960,U\n")
    with pytest.raises(BuildError, match="is a GPT"):
        firmware.load(path)


def test_the_first_slot_is_the_one(tmp_path: Path) -> None:
    """A FAT partition in the second slot is not found."""
    path = card(tmp_path / "card.img", released())
    table = b"label: dos\n1:start=2048,size=2048,type=83\n2:start=4096,size=40960,type=0c\n"
    command.run([need("sfdisk", package="fdisk"), "--quiet", "--force", path], stdin=table)
    with pytest.raises(BuildError, match="type 0x83"):
        firmware.load(path)


def test_a_partition_without_fat_is_refused(tmp_path: Path) -> None:
    """The type in the table is not enough."""
    path = card(tmp_path / "card.img", {}, fat=False)
    with pytest.raises(BuildError, match="no FAT file system"):
        firmware.load(path)


def test_an_image_that_was_cut_is_refused(tmp_path: Path) -> None:
    """Its partition would end behind the card's end."""
    path = card(tmp_path / "card.img", released())
    with path.open("r+b") as image:
        image.truncate(1 << 20)
    with pytest.raises(BuildError, match="ends behind the card's end"):
        firmware.load(path)


def test_an_empty_card_is_refused(tmp_path: Path) -> None:
    """Nobody wrote an image to it."""
    path = tmp_path / "card.img"
    path.write_bytes(bytes(1 << 20))
    with pytest.raises(BuildError, match="no partition table"):
        firmware.load(path)


def test_a_card_without_a_table_starts(tmp_path: Path) -> None:
    """One FAT file system over the whole card is something the boot ROM reads."""
    path = tmp_path / "card.img"
    with path.open("wb") as image:
        image.truncate(64 << 20)
    command.run(
        [need("mformat", package="mtools"), "-i", path, "-F", "-T", "131072", "-h", "255", "-s", "63", "::"]
    )
    fill(path, released(), offset="0")
    assert KERNEL == firmware.load(path).kernel
