"""Downloads: what comes is whole and verified, or there is no file of that name."""

from __future__ import annotations

import hashlib
import re
import threading
from typing import TYPE_CHECKING

import pytest

from nodebake.errors import InputError
from nodebake.progress import Silent
from nodebake.sources.download import Downloader, UnreachableError
from tests.serving import Page, Site, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(BODY).hexdigest()
EAGER = Downloader(progress=Silent(), pauses=(0, 0, 0))


@pytest.fixture
def site() -> Iterator[Site]:
    """Run a server."""
    with serving() as running:
        yield running


def files(directory: Path) -> list[str]:
    """Return the names in a directory."""
    return sorted(path.name for path in directory.iterdir())


def test_a_download_is_the_file_and_leaves_no_part(site: Site, tmp_path: Path) -> None:
    """The plain case."""
    site.pages["/f"] = Page(body=BODY)
    EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256, size=len(BODY))
    assert (tmp_path / "f").read_bytes() == BODY
    assert files(tmp_path) == ["f"]


def test_a_dropped_connection_is_resumed_where_it_broke(site: Site, tmp_path: Path) -> None:
    """Two drops cost two range requests, not two downloads."""
    page = site.pages["/f"] = Page(body=BODY, drops=[1000, 500_000])
    EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == BODY
    assert page.asked == ["", "bytes=1000-", "bytes=501000-"]


def test_a_part_of_an_earlier_build_is_resumed(site: Site, tmp_path: Path) -> None:
    """What a killed build left is not fetched again."""
    page = site.pages["/f"] = Page(body=BODY)
    (tmp_path / "f.part").write_bytes(BODY[:70_000])
    EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == BODY
    assert page.asked == ["bytes=70000-"]


@pytest.mark.parametrize("left", [b"of another file", BODY + b"and more", BODY])
def test_a_useless_part_costs_a_whole_download_and_no_error(site: Site, tmp_path: Path, left: bytes) -> None:
    """A part of another file, a longer one, and one that is complete all end in the right file."""
    site.pages["/f"] = Page(body=BODY)
    (tmp_path / "f.part").write_bytes(left)
    EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256, size=len(BODY))
    assert (tmp_path / "f").read_bytes() == BODY
    assert files(tmp_path) == ["f"]


def test_a_server_without_ranges_gives_the_whole_file_again(site: Site, tmp_path: Path) -> None:
    """An answer 200 to a range request starts the file anew."""
    site.pages["/f"] = Page(body=BODY, drops=[1000], ranges=False)
    EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_file_that_changed_under_a_resume_starts_anew(site: Site, tmp_path: Path) -> None:
    """If-Range keeps the halves of two files apart, and their hash does where there is no tag."""
    for tagged in (True, False):
        page = site.pages["/f"] = Page(body=b"old" * 100_000, drops=[1000], tagged=tagged)
        (tmp_path / "f.part").write_bytes(b"old" * 300)
        page.body = BODY
        EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256)
        assert (tmp_path / "f").read_bytes() == BODY
        (tmp_path / "f").unlink()


def test_two_server_errors_are_outlasted(site: Site, tmp_path: Path) -> None:
    """A server that answers 500, 503, and then the file, gives the file."""
    page = site.pages["/f"] = Page(body=BODY, statuses=[500, 503])
    EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256)
    assert len(page.asked) == 3


def test_a_wrong_hash_names_file_expected_and_got(site: Site, tmp_path: Path) -> None:
    """It ends with exit code 3, and neither file nor part stays."""
    site.pages["/f"] = Page(body=b"not the file")
    got = hashlib.sha256(b"not the file").hexdigest()
    with pytest.raises(InputError, match=f"{site.url}/f(?s:.*)expected {SHA256}\n  got      {got}"):
        EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256)
    assert files(tmp_path) == []


def test_a_file_longer_than_its_index_says_is_refused(site: Site, tmp_path: Path) -> None:
    """No more than the known size is ever written."""
    site.pages["/f"] = Page(body=BODY)
    with pytest.raises(InputError, match="longer than the 1000 bytes"):
        EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256, size=1000)
    assert not (tmp_path / "f").exists()


def test_a_file_shorter_than_its_index_says_is_no_file(site: Site, tmp_path: Path) -> None:
    """A truncated file on the server is tried again, and then reported."""
    site.pages["/f"] = Page(body=BODY[:5000])
    with pytest.raises(UnreachableError, match=r"5000 (of 9000 )?bytes"):
        EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256, size=9000)
    assert not (tmp_path / "f").exists()


def test_a_body_that_always_breaks_off_ends_after_its_attempts(site: Site, tmp_path: Path) -> None:
    """The number of attempts is bounded, and what came waits in the part."""
    page = site.pages["/f"] = Page(body=BODY, drops=[10] * 99)
    with pytest.raises(UnreachableError, match=re.escape(f"{site.url}/f could not be had")):
        EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256)
    assert len(page.asked) == 4
    assert files(tmp_path) == ["f.part"]


def test_a_missing_file_is_not_asked_for_twice(site: Site, tmp_path: Path) -> None:
    """404 is an answer."""
    with pytest.raises(UnreachableError, match=r"HTTP 404"):
        EAGER.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256)


def test_a_stalled_server_is_given_up(site: Site, tmp_path: Path) -> None:
    """Silence longer than the timeout counts as a fault."""
    site.pages["/f"] = Page(body=BODY, delay=1)
    hasty = Downloader(progress=Silent(), pauses=(), timeout=0.2)
    with pytest.raises(UnreachableError, match="could not be had"):
        hasty.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256)


def test_a_slow_server_is_waited_for(site: Site, tmp_path: Path) -> None:
    """Slow is not stalled: the timeout is between bytes."""
    site.pages["/f"] = Page(body=BODY, delay=0.1)
    hasty = Downloader(progress=Silent(), pauses=(), timeout=1)
    hasty.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_name_that_does_not_resolve_fails_at_once(tmp_path: Path) -> None:
    """No attempt is repeated and no pause is made: this test would take a minute."""
    patient = Downloader(progress=Silent(), pauses=(60,))
    with pytest.raises(
        UnreachableError, match=r"host\.invalid could not be reached \(name does not resolve\)"
    ):
        patient.save("http://host.invalid/f", tmp_path / "f", sha256=SHA256)


def test_a_refused_connection_names_the_host(site: Site, tmp_path: Path) -> None:
    """A server that is not there is named with the reason."""
    with serving() as gone:
        url = gone.url
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1 could not be reached"):
        EAGER.save(f"{url}/f", tmp_path / "f", sha256=SHA256)
    assert site.pages == {}


def test_progress_counts_every_byte_once(site: Site, tmp_path: Path) -> None:
    """The listener hears start with the total, each byte, and the end."""
    site.pages["/f"] = Page(body=BODY, drops=[70_000])
    heard: list[tuple[str, int | None]] = []

    class Listener(Silent):
        def start(self, task: str, total: int | None = None) -> None:
            heard.append((f"start {task}", total))

        def advance(self, task: str, units: int = 1) -> None:
            heard.append((task, units))

        def finish(self, task: str) -> None:
            heard.append((f"finish {task}", None))

    downloader = Downloader(progress=Listener(), pauses=(0,))
    downloader.save(f"{site.url}/f", tmp_path / "f", sha256=SHA256)
    assert heard[0] == ("start f", len(BODY))
    assert sum(units or 0 for name, units in heard if name == "f") == len(BODY)
    assert heard[-1] == ("finish f", None)


def test_small_files_are_bounded(site: Site) -> None:
    """An index that does not end is not read into memory."""
    site.pages["/f"] = Page(body=BODY)
    with pytest.raises(UnreachableError, match="more than 100 bytes"):
        EAGER.read(f"{site.url}/f", limit=100)
    assert EAGER.read(f"{site.url}/f", limit=len(BODY)) == BODY


def test_threads_are_gone_after_the_server() -> None:
    """The server of these tests leaves no thread behind."""
    before = threading.active_count()
    with serving():
        pass
    assert threading.active_count() == before
