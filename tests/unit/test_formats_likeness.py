"""What nodes' disks have in common is found where it is, and nothing else is taken for it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from nodebake.formats.card import likeness
from nodebake.formats.card.ranges import Range

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


def noise(name: str, size: int) -> bytes:
    """Return bytes that nothing else has."""
    return hashlib.shake_128(name.encode()).digest(size)


def test_what_was_left_of_the_base_is_found(tmp_path: Path) -> None:
    """A cell with one other byte is the node's own; what was not copied is not looked at."""
    base = noise("base", 5 * MIB + 100)
    disk = bytearray(bytes(MIB) + base)
    disk[MIB + 2 * MIB + 7] ^= 1
    (tmp_path / "base").write_bytes(base)
    (tmp_path / "disk").write_bytes(disk)
    copied = [Range(start=0, end=3 * MIB), Range(start=4 * MIB, end=len(base))]
    with (tmp_path / "base").open("rb") as one, (tmp_path / "disk").open("rb") as other:
        found = list(likeness.unchanged(other, one, likeness.cells(copied), at=MIB))
    starts = [MIB, 2 * MIB, 5 * MIB, 6 * MIB]
    ends = [2 * MIB, 3 * MIB, 6 * MIB, 6 * MIB + 100]
    assert found == [Range(start=start, end=end) for start, end in zip(starts, ends, strict=True)]


def test_what_is_compared_while_it_is_hashed_is_the_same(tmp_path: Path) -> None:
    """The digest is the whole disk's, holes and all; only whole cells that are as in a base are told."""
    one, two = noise("one", 3 * MIB), noise("two", 2 * MIB)
    places = {0: noise("record", 512), 2 * MIB: one, 6 * MIB: two, 9 * MIB + 4096: noise("own", 5000)}
    with (tmp_path / "disk").open("wb") as disk:
        for at, content in places.items():
            disk.seek(at)
            disk.write(content)
        disk.seek(3 * MIB + 77)
        disk.write(b"other")
        disk.truncate(12 * MIB + 300)
    (tmp_path / "one").write_bytes(one)
    (tmp_path / "two").write_bytes(two)
    with (tmp_path / "disk").open("rb") as disk, (tmp_path / "one").open("rb") as first:
        with (tmp_path / "two").open("rb") as second:
            sha256, same = likeness.compared(disk, [(first, 2 * MIB), (second, 6 * MIB)])
        copied = [Range(start=0, end=len(one))]
        told = [
            list(likeness.unchanged(disk, first, likeness.cells(copied), at=2 * MIB, same=known))
            for known in (same, frozenset())
        ]
    assert sha256 == hashlib.sha256((tmp_path / "disk").read_bytes()).hexdigest()
    assert same == {2, 4, 6, 7}
    assert told[0] == told[1] == [Range(start=at * MIB, end=at * MIB + MIB) for at in (2, 4)]


@pytest.mark.parametrize("size", [2 * MIB + 100, 3 * MIB])
@pytest.mark.parametrize(
    ("other", "expected"), [(None, 1), (99, 1), (100, 0), (MIB + 7, 0), (2 * MIB + 99, 0), (-1, 0)]
)
def test_a_piece_is_the_same_as_a_whole_or_not_at_all(
    tmp_path: Path, size: int, other: int | None, expected: int
) -> None:
    """One byte that differs, first, within or last, or one that is missing: nothing of it is shared.

    Whether it ends where the base does or before, and whether or not the cells were compared already.
    """
    base, end = noise("piece", size), 2 * MIB + 100
    disk = bytearray(bytes(MIB) + base)
    if other == -1:
        del disk[MIB + end - 1 :]
    elif other is not None:
        disk[MIB + other] ^= 1
    (tmp_path / "base").write_bytes(base)
    (tmp_path / "disk").write_bytes(disk)
    with (tmp_path / "base").open("rb") as one, (tmp_path / "disk").open("rb") as two:
        _, same = likeness.compared(two, [(one, MIB)])
        for known in (same, frozenset()):
            found = list(likeness.unchanged(two, one, [Range(start=100, end=end)], at=MIB, same=known))
            assert [Range(start=MIB + 100, end=MIB + end)] * expected == found


def test_a_file_in_two_places_is_found_in_both(tmp_path: Path) -> None:
    """A file system may put a file into several runs; each is found, byte for byte."""
    content = noise("content", 300_000)
    first, rest = content[: 40 * 4096], content[40 * 4096 :]
    disk = b"".join((bytes(8192), rest, noise("between", 4096 * 3), first, noise("after", 5000)))
    (tmp_path / "disk").write_bytes(disk)
    found = likeness.apart(likeness.located(tmp_path / "disk", [content]))
    assert sorted((disk[start:end] for start, end in found), key=len) == sorted(
        (rest[: len(rest) // 4096 * 4096 + len(rest) % 4096], first), key=len
    )


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    """Zeros, other bytes and small files have no place."""
    (tmp_path / "disk").write_bytes(bytes(MIB) + noise("disk", MIB))
    contents = [bytes(MIB), noise("other", MIB), noise("disk", 4096)]
    assert list(likeness.located(tmp_path / "disk", contents)) == []


def test_ranges_do_not_overlap() -> None:
    """What lies within another range is left out."""
    ranges = [Range(start=10, end=20), Range(start=0, end=12), Range(start=12, end=14)]
    assert likeness.apart(ranges) == ((0, 12), (12, 14))
