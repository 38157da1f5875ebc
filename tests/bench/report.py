"""What `./invoke bench` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.cluster import MEMBERS

if TYPE_CHECKING:
    from tests.bench.harness import Result
    from tests.bench.measuring import Times

_EXPLAINED = """\
By hand: per node `cfssl gencert | cfssljson` for each certificate (3 for a member, 1 for a client, as we
issue; ECDSA P-256), envsubst for its own texts, ssh-keygen, a copy of the same binaries and static files,
tar | gzip -9n; for nocloud that archive as base64 in user-data, and cloud-localds. Both start from verified
binaries on disk. Ours: `./invoke build` with an empty vault and an empty output directory, start of Python
included. cpu is user and system time of all processes. Medians; in brackets the least and the most."""


def text(results: list[Result], listing: Times) -> str:
    """Return the whole report."""
    parts = [_EXPLAINED, *(_kind(result) for result in results)]
    return "\n\n".join([*parts, _row("./invoke --list, wall", _span(listing.wall), "less than 0.5 s")])


def _kind(result: Result) -> str:
    scale = result.scale
    reckoned = "" if scale.by_hand == scale.large else f" (reckoned from {scale.by_hand} nodes)"
    many = f"{scale.large} nodes"
    aim = "at least 5"
    rows = [
        _row(f"{MEMBERS} nodes, ours, wall", _span(result.small.wall)),
        _row(f"{MEMBERS} nodes, ours, cpu", _span(result.small.cpu)),
        _row(f"{MEMBERS} nodes, by hand, wall", _span(result.hand_small.wall)),
        _row(f"{MEMBERS} nodes, by hand, cpu", _span(result.hand_small.cpu)),
        _row(f"{many}, ours, wall", _span(result.large.wall)),
        _row(f"{many}, ours, cpu", _span(result.large.cpu)),
        _row(f"{many}, by hand, wall", f"{result.hand('wall'):.2f} s{reckoned}"),
        _row(f"{many}, by hand, cpu", f"{result.hand('cpu'):.2f} s{reckoned}"),
        _row(f"{many}, wall, by hand / ours", f"{result.hand('wall') / result.large.median_wall:.1f}", aim),
        _row(f"{many}, cpu, by hand / ours", f"{result.hand('cpu') / result.large.median_cpu:.1f}", aim),
        _row("one more node, cpu", f"{result.node_cpu * 1000:.2f} ms", "at most 10 ms"),
        _row("one more node, its own bytes", f"{result.node_bytes / 1024:.1f} KiB", "at most 64 KiB"),
        _row(
            "one more node, published",
            f"{result.node_published / 1024:.1f} KiB",
            "at most 64 KiB",
        ),
        _row(f"{many}, nothing changed, wall", _span(result.again.wall), "less than 1 s"),
    ]
    return "\n".join([f"{result.kind}: {MEMBERS} members, the others clients", *rows])


def _row(name: str, value: str, aim: str = "") -> str:
    return f"  {name:<34} {value:<28} {f'aim: {aim}' if aim else ''}".rstrip()


def _span(samples: tuple[float, ...]) -> str:
    ordered = sorted(samples)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return f"{middle:.2f} s [{ordered[0]:.2f} - {ordered[-1]:.2f}]"
