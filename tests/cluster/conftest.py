"""Builds and clusters that tests share."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from tests.cluster.built import Built, bake
from tests.cluster.cluster import Cluster, empty
from tests.cluster.desk import GAP, SERVED
from tests.cluster.site import Site, operate
from tests.need import need, need_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


@pytest.fixture(scope="session")
def _equipped() -> None:
    """Skip these tests where there are no namespaces, or no tools to work in them."""
    need_root()
    tools = {"unshare": "util-linux", "nsenter": "util-linux", "prlimit": "util-linux", "ip": "iproute2"}
    for tool, package in (tools | {"curl": "curl", "openssl": "openssl"}).items():
        need(tool, package=package)


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Built]]:
    """Return a function that builds a shipped profile, once in a session."""
    directory = tmp_path_factory.mktemp("shipped")
    done: dict[str, Built] = {}

    def build(name: str) -> Built:
        if name not in done:
            done[name] = bake(name, directory)
        return done[name]

    yield build
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def etcdctl(
    _equipped: None, shipped: Callable[[str], Built], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return an etcdctl for the operator's desk: the one that is baked in for the host's kind of machine."""
    built = shipped("vm")
    directory = tmp_path_factory.mktemp("desk")
    run(["tar", "-C", directory, "-xzf", built.out / built.plan.members[0].name / "shared.tar.gz"])
    program = directory / "etcdctl"
    shutil.move(directory / "usr/local/bin/etcdctl", program)
    return program


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest,
    shipped: Callable[[str], Built],
    etcdctl: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """Return a shipped profile's cluster, formed; the tests of a module share it."""
    built = shipped(request.param)
    with empty(built, tmp_path_factory.mktemp(request.param) / "run", etcdctl) as cluster:
        cluster.start()
        cluster.formed()
        yield cluster


@pytest.fixture
def bench(etcdctl: Path, tmp_path: Path) -> Iterator[Callable[[Built], AbstractContextManager[Cluster]]]:
    """Return a function that gives an empty bridge and a desk for a build."""
    yield lambda built: empty(built, tmp_path / "run", etcdctl)
    shutil.rmtree(tmp_path)  # builds are large, and pytest would keep them for three sessions


@pytest.fixture
def site(
    bench: Callable[[Built], AbstractContextManager[Cluster]], tmp_path: Path
) -> Callable[..., AbstractContextManager[Site]]:
    """Return a function that gives a cluster of nodes so named, with ssh on each and the tool at the desk."""
    return lambda names, **sections: operate(names, bench, tmp_path, **sections)


@pytest.fixture
def served(
    site: Callable[..., AbstractContextManager[Site]],
) -> Iterator[Site]:
    """Return a cluster of three that forms, with ssh on every node, and the tool at the desk."""
    with site(SERVED) as one:
        yield one


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how long somebody who wrote all the time was kept waiting, and by what."""
    calls = [one for one in terminalreporter.getreports("passed") if one.when == "call"]
    shown = {
        one.nodeid: [line for line in one.capstdout.splitlines() if line.startswith(GAP)] for one in calls
    }
    if any(shown.values()):
        terminalreporter.section("longest waits for an acknowledged write")
    for test, lines in shown.items():
        for line in lines:
            terminalreporter.write_line(f"{line.removeprefix(GAP).strip()} ({test.rpartition('::')[2]})")
