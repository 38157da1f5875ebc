"""Both builds, from one vault to the verdict."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake import container
from nodebake.command import run
from nodebake.errors import BuildError, InputError
from nodebake.reproducing.comparing import compare, explain
from nodebake.reproducing.conditions import PLAIN, Condition, unlike

if TYPE_CHECKING:
    from nodebake.pipeline import Options
    from nodebake.plan import Plan
    from nodebake.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """What was built twice and is the same.

    Attributes:
        files: how many in one build.
        size: their bytes.
        changed: what was unlike in the second build.
        lacks: what could not be, and why.
    """

    files: int
    size: int
    changed: tuple[str, ...]
    lacks: tuple[str, ...]


def reproduce(
    plan: Plan, options: Options, *, images: bool, checkout: Path, progress: Progress
) -> Reproduced:
    """Build `plan` twice, with a copy of its vault, under conditions that are unlike; compare everything.

    Args:
        plan: what to build.
        options: the build's; its directory and its vault stay as they are.
        images: whether whole images are built, too; another user cannot be, then.
        checkout: where the code is.
        progress: told what is being done.

    Raises:
        BuildError: a build failed, or the two differ; the first file and byte are named.
        InputError: an input could not be had.
    """
    with tempfile.TemporaryDirectory(prefix="nodebake-reproduce-") as name:
        # Another user must be able to come here.
        scratch = Path(name)
        scratch.chmod(0o755)
        first, second = scratch / "one", scratch / "the second, elsewhere"
        job = _Job(plan, options, images=images, checkout=checkout, progress=progress)
        with suppress(FileNotFoundError):
            shutil.copytree(options.vault, first / "vault")
        job.build(first, PLAIN, "building once")
        condition, lacks = unlike(checkout, owner=not images)
        shutil.copytree(first / "vault", second / "vault")
        job.build(second, condition, "building again, elsewhere")
        _same(first / "out", second / "out")
        changed = condition.told
        try:
            job.in_container(first, scratch / "three")
        except InputError as error:
            lacks = (*lacks, f"the container: {str(error).splitlines()[0]}")
        else:
            _same(first / "out", scratch / "three/out")
            changed = (*changed, "container")
        files = [path for path in (first / "out").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        return Reproduced(files=len(files), size=size, changed=changed, lacks=lacks)


class _Job:
    """What both builds have in common."""

    def __init__(
        self, plan: Plan, options: Options, *, images: bool, checkout: Path, progress: Progress
    ) -> None:
        self._plan, self._options, self._images = plan, options, images
        self._checkout, self._progress = checkout, progress

    def build(self, place: Path, condition: Condition, task: str) -> None:
        """Build in `place` under `condition`, in a process of its own."""
        place.mkdir(exist_ok=True)
        told = {
            "profile": str(self._plan.files[0]),
            "out": str(place / "out"),
            "vault": str(place / "vault"),
            "lock": str(self._options.lock),
            "cache": str(self._options.cache),
            "mirror": self._options.mirror,
            "offline": self._options.offline,
            "epoch": self._options.epoch,
            "base": str(self._options.base) if self._options.base else "",
            "zst": self._options.zst,
            "images": self._images,
            "umask": condition.umask,
            "jobs": condition.jobs,
        }
        if condition.owner is not None:
            for path in (place, *place.rglob("*")):
                os.chown(path, condition.owner, condition.owner)
        argv = [*condition.prefix, sys.executable, "-P", "-m", "nodebake.reproducing.again"]
        env = {"PYTHONPATH": str(self._checkout), "PYTHONDONTWRITEBYTECODE": "1", **condition.variables}
        self._progress.start(task)
        run(argv, stdin=json.dumps(told).encode(), cwd=place, env=env, timeout=7200)
        self._progress.finish(task)

    def in_container(self, first: Path, place: Path) -> None:
        """Build in the builder's container, with a copy of the first build's vault.

        Raises:
            InputError: no engine answers.
        """
        shutil.copytree(first / "vault", place / "vault")
        options = replace(self._options, out=place / "out", vault=place / "vault", stamp=None)
        job = container.job(self._plan, options, checkout=self._checkout, images=self._images)
        if container.run(job, progress=self._progress, say=lambda _: None):
            command = "image" if self._images else "build"
            raise BuildError(
                "the build in the container failed", hint=f"./invoke {command} --in-container says why"
            )


def _same(one: Path, other: Path) -> None:
    found = compare(one, other)
    if found:
        why = explain(one / found.path, other / found.path)
        raise BuildError(
            f"the two builds differ: {found}", hint=why or "diffoscope, if installed, explains it"
        )
