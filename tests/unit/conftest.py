"""What several of these tests start from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nodebake import pipeline
from nodebake.progress import Silent
from tests.unit.inputs import options, profile


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a profile and its build, to look at only."""
    directory = tmp_path_factory.mktemp("first")
    plan = pipeline.resolve(profile(directory))
    pipeline.build(plan, options=options(directory), progress=Silent(), ask=None)
    return directory


@pytest.fixture
def built(first: Path, tmp_path: Path) -> Path:
    """Return the same, to change."""
    return Path(shutil.copytree(first, tmp_path / "place"))
