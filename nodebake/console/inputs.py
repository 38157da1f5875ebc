"""Inputs as text: what the cache has, what was vendored, what could be confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.console.text import shown, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nodebake.plan import Plan
    from nodebake.sources.confirming import Confirmation
    from nodebake.sources.keeping import Shelved
    from nodebake.vendoring import Vendored

_MIB = 1 << 20


def confirmed_as_text(rows: Sequence[Confirmation]) -> str:
    """Return what upstream says of each pin, and from how many sources each is known."""
    cells = [(row.name, row.version, row.arch, str(row.sources), row.verdict, row.why) for row in rows]
    count = sum(row.verdict == "confirmed" for row in rows)
    lines = table(("input", "version", "arch", "sources", "upstream", ""), cells)
    return "\n".join([*lines, f"{count} of {len(rows)} pins confirmed by upstream's own lists"])


def vendored_as_text(plan: Plan, directory: Path, done: Vendored) -> str:
    """Return what a directory has now, and how a build uses it."""
    where = shown(directory)
    return (
        f"{where}: {done.files} files, {done.size / _MIB:.1f} MiB; sha256sum --check SHA256SUMS checks them\n"
        f"without a network: ./invoke build --profile {plan.name} --offline --mirror {where}"
    )


def cache_as_text(found: Sequence[Shelved], freed: int | None) -> str:
    """Return what the cache has, kind by kind, and what of it can go or went."""
    rows = [
        (one.kind, str(one.count), f"{one.size / _MIB:.1f} MiB", str(len(one.unused) or "-"), one.what)
        for one in found
    ]
    lines = table(("kind", "count", "size", "unused", ""), rows)
    names = [f"  {path.parent.name}/{path.name}" for one in found for path in one.unused]
    if freed is not None:
        return "\n".join([*lines, f"removed {len(names)} unused, {freed / _MIB:.1f} MiB:", *names])
    return "\n".join([*lines, *(["unused; --prune removes them:", *names] if names else [])])
