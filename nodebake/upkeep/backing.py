"""Snapshots of a running cluster's data, and artefacts that found a new cluster from one."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nodebake import pipeline
from nodebake.components.etcd import EtcdPart
from nodebake.errors import BuildError, SafetyError, UsageError
from nodebake.pipeline import workshop
from nodebake.progress import Silent
from nodebake.sources import cache
from nodebake.upkeep.etcdctl import etcdctl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nodebake.manifest import Manifest
    from nodebake.pipeline import Options
    from nodebake.plan import Plan
    from nodebake.progress import Progress

_PAGE = 512  # a database is a multiple of this; `snapshot save` puts its SHA-256 behind it
_SUM = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A snapshot.

    Attributes:
        path: the file.
        size: bytes.
        keys: how many there are, old revisions included; -1 if nobody counted.
        revision: of the data; -1 if nobody looked.
    """

    path: Path
    size: int
    keys: int = -1
    revision: int = -1


def backup(plan: Plan, options: Options, to: Path) -> Backup:
    """Save a snapshot of a cluster's data through a healthy member, and check that it is whole.

    Args:
        plan: the cluster.
        options: where the operator's files are.
        to: the file; it must not be there.

    Raises:
        SafetyError: the file is there already.
        InputError: etcdctl could not be had.
        BuildError: no member is healthy, or what was saved is not whole.
    """
    if to.exists():
        raise SafetyError(f"{to} is there already", hint="name another file: a backup is never overwritten")
    ctl = etcdctl(plan, options)
    # A follower, if there is one: the leader has enough to do.
    healthy, leader = ctl.healthy(), ctl.leader()
    through = next((name for name in healthy if name != leader), next(iter(healthy), ""))
    if not through:
        raise BuildError("no member is healthy", hint="etcdctl endpoint health --cluster says what is wrong")
    part = to.with_name(f".{to.name}.part-{os.getpid()}")
    try:
        endpoint = ctl.endpoint(plan.node(through))
        ctl.run(["snapshot", "save", str(part), "--command-timeout=600s"], endpoints=[endpoint])
        _check_sum(part)
        saved = _status(plan, ctl.run, part)
        part.chmod(0o600)
        part.rename(to)
    finally:
        part.unlink(missing_ok=True)
    return replace(saved, path=to)


def restore(
    plan: Plan,
    options: Options,
    snapshot: Path,
    *,
    progress: Progress,
    ask: Callable[[str], str] | None,
) -> Manifest:
    """Write artefacts whose members found a new cluster from a snapshot.

    It is another cluster for etcd, with a token of its own, each time. Members found it together and
    without data, as any cluster: see etcd-run.

    Raises:
        SafetyError: the cluster runs.
        UsageError: the snapshot is not whole.
        ProfileError, InputError, BuildError: see `pipeline.build`.
    """
    try:
        _check_sum(snapshot)
        digest = cache.digest(snapshot)
    except OSError as error:
        raise UsageError(f"cannot read {snapshot}: {error.strerror}") from error
    except BuildError as error:
        raise UsageError(str(error)) from error
    if healthy := etcdctl(plan, options).healthy():
        raise SafetyError(
            f"the cluster runs: it takes requests through {', '.join(healthy)}",
            hint="a snapshot is never restored on top of data: take a backup, stop etcd on every member, "
            "and move its data away first",
        )
    # What cannot be had must not end with a vault that waits for another cluster.
    workshop.supplies(plan, options, Silent())
    with workshop.opened(plan, options, ask) as vault:
        if vault.minted:
            progress.note(f"minted a new certificate authority, in {options.vault}: clients need its ca.crt")
        vault.found_again(digest)
    told = replace(options, node="", stamp=None, snapshot=snapshot)
    return pipeline.build(plan, options=told, progress=progress, ask=ask)


def _check_sum(path: Path) -> None:
    """Check a snapshot against the sum at its end, as etcd does.

    Raises:
        OSError: it cannot be read.
        BuildError: it is not a snapshot, or not whole.
    """
    size = path.stat().st_size
    if size % _PAGE != _SUM:
        raise BuildError(
            f"{path} is no whole snapshot: it does not end with a sum",
            hint="take what backup or etcdctl snapshot save wrote, not the file of a data directory",
        )
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = size - _SUM
        while left:
            chunk = file.read(min(1 << 20, left))
            digest.update(chunk)
            left -= len(chunk)
        if digest.digest() != file.read():
            raise BuildError(f"{path} is damaged: its sum does not fit", hint="take another backup")


def _status(plan: Plan, run: Callable[..., str], path: Path) -> Backup:
    """Have etcdctl open it and count, where it can; etcdutl, which does so later, is not on the desk."""
    size = path.stat().st_size
    if plan.part(EtcdPart).restorer != "etcdctl":
        return Backup(path=path, size=size)
    told = json.loads(run(["snapshot", "status", str(path), "--write-out=json"]))
    return Backup(path=path, size=size, keys=told["totalKey"], revision=told["revision"])
