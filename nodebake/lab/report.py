"""`report.json` and `report.html`: what happened in a run, for programs and for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from html import escape
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from nodebake.lab.stages import STAGES
from nodebake.overlay import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nodebake.lab.record import Check, Event, Record, Timeline

SCHEMA = 1
_WIDTH, _LEFT, _ROW, _MARGIN = 960, 130, 32, 20
_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)  # seconds between ticks
_MOST_TICKS = 12
_PER_LETTER = 6.5  # pixels
# Light to dark, so that they can be told apart in grey as well.
_COLOURS = {
    "power": "#eef1f5",
    "firmware": "#dde3ea",
    "kernel": "#fbe3b8",
    "initramfs": "#f9d79a",
    "userspace": "#f6c877",
    "network": "#a9d3f0",
    "etcd": "#6fb0e0",
    "healthy": "#5cb87a",
}


def to_json(record: Record) -> str:
    """Return the text of `report.json`: the record's own fields, the ratios to the floor, the time spent."""
    derived = {"ratio": ratio(record), "ratio_used": ratio_used(record), "spent": spent(record)}
    return json.dumps({"schema": SCHEMA, **asdict(record), **derived}, indent=2) + "\n"


def to_html(record: Record) -> str:
    """Return the text of `report.html`: one file, without anything from elsewhere."""
    return render("lab", ("report",), _values(record))["report.html"].content.decode()


def ratio(record: Record) -> float | None:
    """Return how many times as long as the floor the cluster took; None if that was not measured."""
    if record.floor is None or record.healthy_after is None:
        return None
    return round(record.healthy_after / record.floor.seconds, 2)


def ratio_used(record: Record) -> float | None:
    """Return how many times as much processor time as the floor's a machine took; None without it."""
    if record.floor is None or not record.floor.used or record.used is None:
        return None
    return round(record.used / record.floor.used, 2)


def spent(record: Record) -> dict[str, float]:
    """Return how many seconds a machine's first start was in each stage before it was healthy, on average."""
    seconds: dict[str, list[float]] = {}
    for node in record.nodes:
        for event, following in pairwise(node.events):
            if event.stage in {"healthy", "off"}:
                break
            seconds.setdefault(event.stage, []).append(following.at - event.at)
    return {stage: round(sum(times) / len(times), 1) for stage, times in seconds.items()}


def _values(record: Record) -> dict[str, Any]:
    reached = {event.stage for node in record.nodes for event in node.events}
    stages = [stage for stage in STAGES if stage in reached]
    failed = sum(not check.passed for check in record.checks)
    return {
        "profile": escape(record.profile),
        "scenario": escape(record.scenario),
        "verdict": record.verdict,
        "why": escape(record.why),
        "summary": f"{len(record.checks)} checks, {failed} failed, on {escape(record.accelerator)}",
        "healthy": _healthy(record),
        "spent": _spent(record),
        "floor": _floor(record),
        "chart": _chart(record),
        "legend": [{"colour": _COLOURS[stage], "text": f"since {stage}"} for stage in stages],
        "stages": stages,
        "starts": [row for node in record.nodes for row in _starts(node, stages)],
        "stalls": [{"why": escape(one.why), "seconds": f"{one.seconds:.2f}"} for one in record.stalls],
        "scenes": [
            {"name": escape(name), "checks": [_check(check) for check in checks]}
            for name, checks in groupby(record.checks, key=lambda check: check.scenario)
        ],
        "versions": [(escape(name), escape(text)) for name, text in record.versions.items()],
        "digests": [
            {"name": escape(node.name), "digest": node.digest} for node in record.nodes if node.digest
        ],
    }


def _check(check: Check) -> dict[str, str]:
    return {
        "verdict": "passed" if check.passed else "failed",
        "at": f"{check.at:.1f} s",
        "name": escape(check.name),
        "detail": escape(check.detail),
    }


def _healthy(record: Record) -> str:
    if record.healthy_after is None:
        return ""
    return f"All members were healthy over TLS {record.healthy_after:.1f} s after the first power-on."


def _spent(record: Record) -> str:
    if record.healthy_after is None:
        return ""
    most = sorted(spent(record).items(), key=lambda item: -item[1])
    return f"Where the time went, on average: {', '.join(f'{stage} {time:.1f} s' for stage, time in most)}."


def _floor(record: Record) -> str:
    times, effort = ratio(record), ratio_used(record)
    if record.floor is None or times is None:
        return ""
    runs = " and ".join(f"{one:.1f}" for one in record.floor.runs)
    told = (
        f"The floor, the same kernel and etcd with an initramfs and nothing else, took "
        f"{runs} s: the artefacts took {times:.2f} times as long; "
        f"at most {record.floor.allowed:g} times is the aim."
    )
    if effort is None:
        return told
    return told + (
        f" Counted in processor time, which nothing else on this machine makes longer, a machine took "
        f"{record.used:.1f} s and the floor {record.floor.used:.1f} s: {effort:.2f} times as much."
    )


def _chart(record: Record) -> dict[str, Any]:
    end = max((event.at for node in record.nodes for event in node.events), default=0.0)
    end = max(end, *(check.at for check in record.checks), 1.0)
    scale = (_WIDTH - _LEFT - _MARGIN) / end
    step = next((step for step in _STEPS if end / step <= _MOST_TICKS), _STEPS[-1])
    bottom = 8 + _ROW * len(record.nodes)
    rows = [
        {"name": escape(node.name), "y": 8 + _ROW * place, "bars": list(_bars(node, end, scale))}
        for place, node in enumerate(record.nodes)
    ]
    ticks = [{"x": round(_LEFT + at * scale, 1), "text": f"{at} s"} for at in range(0, int(end) + 1, step)]
    return {
        "width": _WIDTH,
        "height": bottom + 22,
        "left": _LEFT,
        "bottom": bottom,
        "rows": rows,
        "ticks": ticks,
    }


def _bars(node: Timeline, end: float, scale: float) -> Iterator[dict[str, Any]]:
    events: list[Event | None] = [*node.events, None]
    for event, following in pairwise(events):
        if event is None or event.stage == "off":
            continue
        until = following.at if following else end
        width = round((until - event.at) * scale, 1)
        text = f"{event.stage}: {event.at:.1f} to {until:.1f} s"
        fits = width > 8 + len(event.stage) * _PER_LETTER
        yield {
            "x": round(_LEFT + event.at * scale, 1),
            "width": width,
            "colour": _COLOURS[event.stage],
            "text": text,
            "label": event.stage if fits else "",
        }


def _starts(node: Timeline, stages: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield one row per time the machine was switched on, with a cell per stage."""
    rows: list[dict[str, str]] = []
    for event in node.events:
        if event.stage == "power":
            rows.append({})
        if rows and event.stage != "off":
            rows[-1][event.stage] = f"{event.at:.1f}" + (f" ({event.used:.1f})" if event.used else "")
    for number, row in enumerate(rows, start=1):
        name = node.name if len(rows) == 1 else f"{node.name}, start {number}"
        cells = [row.get(stage, "") for stage in stages]
        yield {"name": escape(name), "cells": cells, "console": escape(node.console)}
