"""The same work for many nodes, some of them at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nodebake.plan import NodePlan
    from nodebake.progress import Progress

T = TypeVar("T")


def abreast(
    nodes: Iterable[NodePlan], work: Callable[[NodePlan], T], *, task: str, jobs: int, progress: Progress
) -> dict[str, T]:
    """Do `work` for every node, `jobs` of them at once; return what it gave, by the nodes' names.

    What it raises for one node ends the whole; nothing new is begun then.
    """
    nodes = tuple(nodes)
    progress.start(task, len(nodes))
    done = {}
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, node) for node in nodes]
        try:
            for node, future in zip(nodes, futures, strict=True):
                done[node.name] = future.result()
                progress.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    progress.finish(task)
    return done
