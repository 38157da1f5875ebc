"""How a cluster's members come to be those of the profile, as text."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from nodebake.console.certificates import by_hand
from nodebake.console.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nodebake.plan import Plan
    from nodebake.upkeep import Adjusted, Step, Upgraded

_RESTARTS = "each restarts etcd: wait for etcdctl endpoint health --cluster before the next one"
_DONE = {
    "user": "etcd knows it as a user of its own",
    "add": "the cluster expects it, as a learner",
    "promote": "it is in sync, and votes",
    "update": "the cluster looks for it at its new address",
    "remove": "the cluster has let go of it",
}


def adjusted_as_text(out: Path, done: Adjusted) -> str:
    """Return what the cluster has done, and the exact commands for what is left."""
    lines = [f"{step.name}: {_DONE[step.kind]}" for step in done.done]
    lines += by_hand(done.plan, out, done.archives)
    if not done.left:
        return "\n".join([*lines, "the cluster's members are those of the profile"])
    env = shlex.quote(str(shown(out / "operator/etcdctl.env")))
    lines += ["left, one after the other (or run it again with --live):", f"  . {env}"]
    # Not a flag: etcdctl takes no endpoints from both. A learner, which the file may name, knows no members.
    lines += [f"  export ETCDCTL_ENDPOINTS={done.through}"]
    for step in done.left:
        lines += _commands(step, out)
    return "\n".join([*lines, f"in the end: ./invoke members --profile {done.plan.name} --live"])


def upgraded_as_text(plan: Plan, out: Path, done: Upgraded) -> str:
    """Return what every member runs, or the commands that bring it there."""
    ran = ", ".join(f"{name} {version}" for name, version in done.before.items())
    lines = [f"before: {ran}"]
    lines += [f"the data as it was: {shown(done.snapshot)}"] if done.snapshot else []
    if done.archives:
        return "\n".join([*lines, *by_hand(plan, out, done.archives), _RESTARTS])
    return "\n".join([*lines, f"every member runs etcd {done.version}, with the profile's settings"])


def _commands(step: Step, out: Path) -> Iterator[str]:
    place = shown(out / step.name)
    if step.kind == "start":
        yield f"  # {step.name}: start it with the artefact in {place}"
        return
    yield f"  etcdctl {shlex.join(step.words)}"
    if step.kind == "add":
        yield f"  # {step.name}: start a machine with the artefact in {place}, and an empty disk for data"
        own = shlex.quote(step.peer_url)
        number = f"$(etcdctl member list | grep -F {own} | cut -d, -f1)"
        yield f"  etcdctl member promote {number}    # when in sync"
    if step.kind == "update":
        yield f"  # {step.name}: restart it with the artefact in {place}, and the data that it has"
