"""Builds for the tests: through the pipeline, as `./invoke build` would, with a vault of their own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import yaml

from nodebake.components import chosen
from nodebake.pipeline import Options, build, resolve
from nodebake.progress import Silent
from tests.k3s_stub import RELEASE
from tests.need import CACHE, ROOT, need_input

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.plan import Plan
    from tests.k3s_stub import Stubbed


@dataclass(frozen=True)
class Built:
    """A profile's artefacts in a directory."""

    plan: Plan
    out: Path

    @cached_property
    def operator(self) -> Path:
        """The operator's directory."""
        return self.out / "operator"


def bake(
    profile: str | Path,
    directory: Path,
    *,
    vault: Path | None = None,
    lock: Path = ROOT / "sources.lock",
    stubs: Stubbed | None = None,
) -> Built:
    """Build a profile into `directory`/build, with the vault `directory`/vault unless another is given.

    A profile with k3s is built with `stubs` in its place.
    """
    plan = resolve(str(profile))
    for want in (one for component in chosen(plan) for one in component.wants(plan)):
        if not (stubs and want.version == RELEASE):
            need_input(want, lock=lock)
    out = directory / "build" / plan.name
    options = Options(
        out=out,
        vault=vault or directory / "vault" / plan.name,
        lock=stubs.lock if stubs else lock,
        cache=CACHE,
        mirror=stubs.mirror if stubs else None,
    )
    build(plan, options=options, progress=Silent(), ask=None)
    return Built(plan, out)


def write_profile(directory: Path, name: str, document: dict[str, object]) -> Path:
    """Write a profile of the test's own and return its path."""
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
