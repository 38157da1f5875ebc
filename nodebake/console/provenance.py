"""What a file is, and what is said about a build, as text."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from nodebake.console.text import as_json, shown, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nodebake.inspection import Finding

_MIB = 1 << 20
_UNSAID = "not said: it was made before files said so"


def inspected_as_text(path: Path, finding: Finding) -> str:
    """Return what a file is, what is in it and when its certificates expire."""
    size = sum(one.size for one in finding.files) / _MIB
    programs = [(f"/{one.path}", f"{one.size / _MIB:.1f} MiB", one.sha256) for one in finding.programs]
    certificates = [(one.not_after[:10], one.subject, f"/{one.path}") for one in finding.certificates]
    lines = [
        f"{shown(path)}: {finding.what} ({finding.kind})",
        *table(("", ""), list(_facts(finding.release, finding.system)))[2:],
        f"contains  {len(finding.files)} files, {size:.1f} MiB",
    ]
    if programs:
        lines += ["", *table(("program", "size", "sha256"), programs)]
    if certificates:
        lines += ["", *table(("until", "certificate", "file"), certificates)]
    return "\n".join(lines)


def inspected_as_json(finding: Finding) -> str:
    """Return the same for a program, with every file's digest."""
    return as_json(finding.to_json())


def _facts(release: Mapping[str, str], system: str) -> Iterator[tuple[str, str]]:
    yield "node", release.get("NODE", "none's: nodes share it")
    for name, key in (
        ("cluster", "CLUSTER"),
        ("profile", "PROFILE"),
        ("builder", "BUILDER"),
        ("plan", "PLAN"),
    ):
        yield name, release.get(key) or _UNSAID
    epoch = release.get("EPOCH", "")
    when = (
        f"{dt.datetime.fromtimestamp(int(epoch), dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
        if epoch.isdigit()
        else _UNSAID
    )
    yield "epoch", when
    yield from (("input", value) for key, value in release.items() if key.startswith("INPUT_"))
    if system:
        yield "system", system
