"""`config.txt` as a Pi 3 B reads it: sections, included files, lines with no effect."""

from __future__ import annotations

import pytest

from nodebake.errors import BuildError
from nodebake.lab.configtxt import Settings, settings


def read(text: str, **included: str) -> Settings:
    """Return what `text` comes to; `included` are other files, by name without `.txt`."""
    files = {"config.txt": text, **{f"{name}.txt": content for name, content in included.items()}}
    return settings(files.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1\nb = two words \n", {"a": "1", "b": "two words"}),
        ("a=1\na=2\n", {"a": "2"}),
        ("#a=1\n  # b=2\n\nnonsense\n", {}),
        ("a=1\r\nb=2\r\n", {"a": "1", "b": "2"}),
        ("[pi4]\na=4\n[pi3]\na=3\n[all]\nb=1\n", {"a": "3", "b": "1"}),
        ("[pi3+]\na=1\n[none]\nb=1\n[pi0]\nc=1\n", {}),
        ("[board-type=0x08]\na=1\n[board-type=0x0d]\nb=1\n", {"a": "1"}),
        ("[EDID=VSC-TD2220]\na=1\n[pi3]\nb=1\n[all]\nc=1\n", {"c": "1"}),
        ("[pi4]\n[EDID=x]\n[pi3]\na=1\n[all]\nb=1\n", {"b": "1"}),
        ("[tryboot]\na=1\n[all]\n[0x12345678]\nb=1\n[all]\n[HDMI:0]\nc=1\n", {}),
        ("initramfs a\n", {"initramfs": "a"}),
        ("initramfs a followkernel\ninitramfs b 0x00800000\n", {"initramfs": "b"}),
        ("initramfs=a\n", {}),
        ("dtoverlay=disable-bt\n", {}),
    ],
)
def test_settings_follow_the_sections(text: str, expected: dict[str, str]) -> None:
    """The last setting of a name wins, among those that are for a Pi 3 B without a monitor."""
    assert expected == read(text).values


def test_an_included_file_stands_where_its_line_is() -> None:
    """What follows it wins, sections reach into it and out of it, and a missing one does no harm."""
    found = read("a=1\ninclude user.txt\nb=1\n[all]\nc=1\ninclude gone.txt\n", user="a=2\nb=2\n[pi4]\nd=1\n")
    assert {"a": "2", "b": "2", "c": "1"} == found.values


def test_an_included_file_in_a_section_for_another_model_is_left_out() -> None:
    """It is as if its lines stood there."""
    assert {} == read("[pi4]\ninclude user.txt\n", user="a=1\n").values


def test_files_that_include_one_another_end() -> None:
    """Something has to give, and it says what."""
    with pytest.raises(BuildError, match=r"user\.txt: files include one another"):
        read("include user.txt\n", user="include user.txt\n")


def test_a_long_line_is_cut() -> None:
    """The firmware takes 98 characters."""
    found = read("a=" + "x" * 200)
    assert ("x" * 96, ["config.txt:1: only the first 98 characters count"]) == (
        found.values["a"],
        found.notes,
    )


def test_what_the_boot_code_acts_on_has_to_be_in_config_txt() -> None:
    """It knows no `include`: raspberrypi/firmware issues 1332 and 1810."""
    found = read("gpu_mem=64\ninclude user.txt\n", user="gpu_mem=16\nenable_uart=1\n")
    assert {"gpu_mem": "64", "enable_uart": "1"} == found.values
    assert ["user.txt:1: gpu_mem has no effect: the boot code reads config.txt only"] == found.notes


@pytest.mark.parametrize("section", ["gpio4=1", "board-type=x", "pi7", "ALL"])
def test_a_section_that_an_emulated_pi_cannot_judge_is_refused(section: str) -> None:
    """Guessing would prove nothing; the error names the line."""
    with pytest.raises(BuildError, match=r"config\.txt:2: whether .* holds"):
        read(f"a=1\n[{section}]\n")


@pytest.mark.parametrize(("text", "expected"), [("a=0x10", 16), ("a=3", 3), ("a=x", 7), ("", 7)])
def test_numbers_are_decimal_or_hexadecimal(text: str, expected: int) -> None:
    """Anything else counts as not set."""
    assert expected == read(text).number("a", 7)
