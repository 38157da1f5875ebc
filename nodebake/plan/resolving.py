"""The core of a plan: machine, nodes, settings, and what can be said against them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodebake.plan import checks, network
from nodebake.plan.boards import BOARDS
from nodebake.plan.model import NodePlan, Plan, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.errors import Problem
    from nodebake.profile.load import Loaded
    from nodebake.profile.schema import Node, Profile


def resolve(loaded: Loaded) -> tuple[Plan, list[Problem]]:
    """Return the plan of a profile before any component has decided, and every problem with it.

    The plan is whole even when there are problems, so that components can add theirs.
    """
    profile = loaded.profile
    machine = profile.machine
    board = BOARDS[machine.board]
    alpine = machine.os == "alpine"
    plan = Plan(
        name=loaded.name,
        profile=profile,
        board=board,
        arch=machine.arch or board.arch,
        memory=machine.memory or board.memory,
        init="openrc" if alpine else "systemd",
        libc="musl" if alpine else "glibc",
        nodes=tuple(_node(node, profile.cluster.domain) for node in profile.nodes),
        settings=tuple(_settings(loaded)),
        warnings=tuple(checks.warnings(profile)),
        directory=loaded.directory,
        files=loaded.files,
        marks=loaded.marks,
    )
    return plan, [*checks.problems(loaded), *network.problems(loaded)]


def _node(node: Node, domain: str | None) -> NodePlan:
    fqdn = f"{node.name}.{domain}" if domain else node.name
    return NodePlan(
        name=node.name,
        role=node.role,
        interfaces=tuple(str(interface) for interface in node.address),
        fqdn=fqdn,
        dns=tuple(dict.fromkeys((node.name, fqdn, *node.names))),
    )


def _settings(loaded: Loaded) -> Iterator[Setting]:
    derived = _derived(loaded.profile)
    for path, value in _flat(loaded.profile.model_dump(mode="json", by_alias=True)):
        if value is None and path in derived:
            decided, origin = derived[path]
            yield Setting(path=path, value=decided, origin=origin)
        else:
            yield Setting(path=path, value=value, origin=loaded.origin(path))


def _derived(profile: Profile) -> dict[str, tuple[Any, str]]:
    """Return what follows from other values when the profile leaves it open, and from which."""
    board = BOARDS[profile.machine.board]
    authority = f"{profile.cluster.name} etcd CA"
    derived: dict[str, tuple[Any, str]] = {
        "machine.data.size": (board.data, f"board {board.name}"),
        "machine.arch": (board.arch, f"board {board.name}"),
        "machine.memory": (board.memory, f"board {board.name}"),
        "pki.authority.common_name": (authority, "derived: the cluster's name"),
    }
    if profile.machine.os == "alpine":
        derived["machine.release"] = board.alpine, f"board {board.name}"
    return derived


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - whatever JSON holds
    """Yield the path and value of every leaf; a list of scalars is one leaf, an empty mapping too."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _flat(child, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, child in enumerate(value):
            yield from _flat(child, f"{path}[{index}]")
    else:
        yield path, value
