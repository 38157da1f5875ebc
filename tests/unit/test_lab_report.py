"""The report of a run: what programs read, and what people see."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

from nodebake.lab import report
from nodebake.lab.record import Check, Event, Floor, Record, Stall, Timeline

STAGES = ("power", "kernel", "userspace", "network", "etcd", "healthy")


def record(*, why: str = "", floor: Floor | None = None) -> Record:
    """Return the record of a run with two machines, one of which was started twice."""
    once = tuple(
        Event(stage=stage, at=float(place * 3), used=float(place)) for place, stage in enumerate(STAGES)
    )
    twice = (
        *once,
        Event(stage="off", at=20.0),
        Event(stage="power", at=22.0),
        Event(stage="kernel", at=24.5),
    )
    return Record(
        profile="vm",
        scenario="power-cut",
        verdict="failed" if why else "passed",
        why=why,
        accelerator="tcg (/dev/kvm is not there)",
        versions={"emulator": "QEMU <7.2>"},
        healthy_after=15.0,
        checks=(Check(name="quorum", passed=not why, detail="<b>&", at=16.0, scenario="power-cut"),),
        nodes=(
            Timeline(name="n1", events=once, console="n1.console.log", digest="ab12"),
            Timeline(name="n2", events=twice, console="n2.console.log", digest="cd34"),
        ),
        stalls=(Stall(why="power of n2 cut", seconds=1.25),),
        used=5.0,
        floor=floor,
    )


class Outline(HTMLParser):
    """Collects what a page is made of, and what it would load from elsewhere."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.rects = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that is opened."""
        named = dict(attrs)
        self.rects += tag == "rect"
        self.loaded += [str(named[key]) for key in ("src", "data") if key in named]
        self.loaded += [str(named["href"])] if tag == "link" else []
        if tag not in {"meta", "br", "hr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element without content."""
        del attrs
        self.rects += tag == "rect"

    def handle_endtag(self, tag: str) -> None:
        """See that what is closed is what was opened last."""
        assert tag == self.open.pop()


def outline(page: str) -> Outline:
    """Return what `page` is made of."""
    parser = Outline()
    parser.feed(page)
    return parser


def test_the_page_is_whole_and_stands_alone() -> None:
    """Every element is closed, nothing comes from elsewhere, every stage of every start is a bar."""
    parsed = outline(report.to_html(record()))
    assert ([], [], 6 + 8) == (parsed.open, parsed.loaded, parsed.rects)


def test_what_machines_say_is_not_taken_for_html() -> None:
    """Angle brackets in an error, a version or a detail are shown, not obeyed."""
    page = report.to_html(record(why="no quorum: <script>"))
    assert [True, True, True, False] == [
        text in page for text in ("&lt;script&gt;", "QEMU &lt;7.2&gt;", "&lt;b&gt;&amp;", "<script")
    ]


def test_checks_stand_under_the_scenario_they_belong_to() -> None:
    """Several scenarios check the same things; with one alone the title says it."""
    one = record()
    more = Check(name="quorum", passed=True, detail="", at=18.0, scenario="node-loss")
    page = report.to_html(replace(one, checks=(*one.checks, more)))
    heading = '<th class="scene" colspan="4">'
    assert (0, 2) == (report.to_html(one).count(heading), page.count(heading))
    assert page.index(f"{heading}power-cut") < page.index("16.0 s") < page.index(f"{heading}node-loss")


def test_the_page_links_every_console() -> None:
    """Each start has its row, with the console beside the report."""
    page = report.to_html(record())
    assert (1, 2) == (page.count('<a href="n1.console.log">'), page.count('<a href="n2.console.log">'))


def test_the_page_tells_the_stall_and_the_ratio() -> None:
    """Both are what the reader came for."""
    page = report.to_html(record(floor=Floor(runs=(9.0, 11.0), used=2.0, allowed=4.0)))
    told = (
        "1.25",
        "took 9.0 and 11.0 s",
        "1.50 times as long",
        "at most 4 times",
        "2.50 times as much",
        "12.0 (4.0)",
    )
    assert [True] * 6 == [text in page for text in told]


def test_a_run_without_checks_has_a_page() -> None:
    """A failure before the first check leaves nothing to count, and still a report."""
    empty = Record(
        profile="vm",
        scenario="cold",
        verdict="failed",
        why="etcd-1 stopped by itself",
        accelerator="kvm",
        versions={},
        healthy_after=None,
        checks=(),
        nodes=(),
        stalls=(),
    )
    assert "etcd-1 stopped by itself" in report.to_html(empty)


def test_programs_read_the_record_and_the_ratio() -> None:
    """`report.json` has a schema number, every field of the record, and the ratio to the floor."""
    told = json.loads(report.to_json(record(floor=Floor(runs=(9.0, 11.0), used=2.0, allowed=4.0))))
    expected = (1, 1.5, 2.5, "power-cut", [{"why": "power of n2 cut", "seconds": 1.25}])
    assert expected == tuple(told[name] for name in ("schema", "ratio", "ratio_used", "scenario", "stalls"))


def test_the_report_says_where_the_time_went() -> None:
    """The first start of each machine counts, up to its first healthy moment."""
    told = json.loads(report.to_json(record()))["spent"]
    expected = {"power": 3.0, "kernel": 3.0, "userspace": 3.0, "network": 3.0, "etcd": 3.0}
    assert (expected, True) == (told, "userspace 3.0 s" in report.to_html(record()))
