"""`./invoke bench`: builds against the same work done by hand, in the same run on the same machine."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake import command
from tests.bench.cluster import LARGEST_TEXT, MEMBERS, Cluster, Kind, skeletons
from tests.bench.measuring import CHECKOUT, Times, measure, own_bytes

if TYPE_CHECKING:
    from nodebake.progress import Progress
    from tests.bench import images

TOOLS = {
    "cfssl": "golang-cfssl",
    "cfssljson": "golang-cfssl",
    "cloud-localds": "cloud-image-utils",
    "envsubst": "gettext-base",
    "gzip": "gzip",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
}
HANDMADE = Path(__file__).parent / "handmade.sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured.

    Attributes:
        large: nodes of the large cluster.
        by_hand: nodes of it that are made by hand; the rest is reckoned from the marginal one.
        runs: repetitions of everything but the large cluster by hand, which is made once.
        kinds: of artefacts.
        binaries: whether the hand-made way packs them, too; without them it is quick, and no comparison.
    """

    large: int = 300
    by_hand: int = 30
    runs: int = 3
    kinds: tuple[Kind, ...] = ("apkovl", "nocloud")
    binaries: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was measured for one kind of artefact; times in seconds.

    Attributes:
        kind: `apkovl` or `nocloud`.
        scale: how much was measured.
        small: our build of three nodes.
        large: our build of the large cluster.
        again: our second build of the large cluster, with nothing changed.
        hand_small: three nodes by hand.
        hand_large: `scale.by_hand` nodes by hand.
        node_bytes: what is its own of the last node, in bytes.
        published: bytes that publishing sends, by the number of nodes.
    """

    kind: Kind
    scale: Scale
    small: Times
    large: Times
    again: Times
    hand_small: Times
    hand_large: Times
    node_bytes: int
    published: dict[int, int]

    @property
    def node_published(self) -> float:
        """Bytes that publishing sends for one more node."""
        (few, less), (many, more) = sorted(self.published.items())
        return (more - less) / (many - few)

    @property
    def node_cpu(self) -> float:
        """Processor seconds of one more node, ours."""
        return (self.large.median_cpu - self.small.median_cpu) / (self.scale.large - MEMBERS)

    def hand(self, of: str) -> float:
        """Return `wall` or `cpu` seconds of the large cluster by hand, reckoned where not all was made."""
        small, made = getattr(self.hand_small, f"median_{of}"), getattr(self.hand_large, f"median_{of}")
        return float(small + (made - small) / (self.scale.by_hand - MEMBERS) * (self.scale.large - MEMBERS))


def run(scale: Scale, *, progress: Progress) -> tuple[list[Result], Times]:
    """Measure every kind, and how long `./invoke --list` takes.

    Raises:
        InputError: a tool of the hand-made way is missing, or an input of ours.
        BuildError: one of the commands failed.
    """
    for tool, package in TOOLS.items():
        command.find(tool, package=package)
    results = []
    for kind in scale.kinds:
        with tempfile.TemporaryDirectory(prefix="nodebake-bench-") as scratch:
            results.append(_measure(kind, scale, Path(scratch), progress))
    listing = measure(scale.runs, lambda _: [CHECKOUT / "invoke", "--list"])
    return results, listing


def _measure(kind: Kind, scale: Scale, scratch: Path, progress: Progress) -> Result:
    small, large = Cluster(kind=kind, size=MEMBERS), Cluster(kind=kind, size=scale.large)
    part = Cluster(kind=kind, size=scale.by_hand)
    task = f"measuring {kind}"
    progress.start(task, 6)
    # Warms the cache of inputs, and gives the hand-made way what it starts from.
    first = scratch / "first"
    command.run(_ours(Cluster(kind=kind, size=MEMBERS + 1), scratch, first), cwd=CHECKOUT)
    most = None if scale.binaries else LARGEST_TEXT
    published = {MEMBERS + 1: _published(Cluster(kind=kind, size=MEMBERS + 1), scratch, first)}
    start = skeletons(Cluster(kind=kind, size=MEMBERS + 1), first / "out", scratch / "skeletons", most=most)
    progress.advance(task)

    def ours(cluster: Cluster) -> Times:
        times = measure(scale.runs, lambda _: _ours(cluster, scratch, _empty(scratch / "ours")))
        progress.advance(task)
        return times

    def by_hand(cluster: Cluster, runs: int) -> Times:
        argv = [HANDMADE, kind, cluster.listing(scratch), start]
        times = measure(runs, lambda _: [*argv, _empty(scratch / "hand")])
        progress.advance(task)
        return times

    three, many = ours(small), ours(large)
    again = measure(scale.runs, lambda _: _ours(large, scratch, scratch / "ours"))
    own = own_bytes(*(scratch / "ours/out" / large.nodes[index][0] for index in (-1, -2)))
    published[large.size] = _published(large, scratch, scratch / "ours")
    progress.advance(task)
    result = Result(
        kind=kind,
        scale=scale,
        small=three,
        large=many,
        again=again,
        hand_small=by_hand(small, scale.runs),
        hand_large=by_hand(part, 1),
        node_bytes=own,
        published=published,
    )
    progress.finish(task)
    return result


def _ours(cluster: Cluster, scratch: Path, to: Path) -> list[str | Path]:
    profile = cluster.profile(scratch)
    return [CHECKOUT / "invoke", "build", "--profile", profile, "--out", to / "out", "--vault", to / "vault"]


def _published(cluster: Cluster, scratch: Path, built: Path) -> int:
    """Publish a build to an empty directory, and return how many bytes that has then."""
    to = _empty(scratch / "published")
    argv: list[str | Path] = [
        "publish",
        "--profile",
        cluster.profile(scratch),
        "--out",
        built / "out",
        "--to",
        f"file://{to}",
    ]
    env = {"NODEBAKE_VENV": sys.prefix}
    command.run([CHECKOUT / "invoke", *argv, "--plaintext-secrets"], cwd=CHECKOUT, env=env)
    return sum(path.stat().st_size for path in to.rglob("*") if path.is_file())


def _empty(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    return directory


def save(results: list[Result], listing: Times, imaged: images.Result, to: Path) -> None:
    """Write everything that was measured as JSON."""
    document = {
        "list": listing.to_json(),
        "images": imaged.to_json(),
        "kinds": {
            result.kind: {
                "nodes": result.scale.large,
                "nodes_by_hand": result.scale.by_hand,
                "node_cpu_seconds": result.node_cpu,
                "node_bytes": result.node_bytes,
                "published": result.published,
                "node_published": result.node_published,
                **{
                    name: getattr(result, name).to_json()
                    for name in ("small", "large", "again", "hand_small", "hand_large")
                },
            }
            for result in results
        },
    }
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(document, indent=2) + "\n")
