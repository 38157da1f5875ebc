"""What can be said against a profile beyond its shape: names, machine, outputs, accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.plan.boards import BOARDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nodebake.errors import Problem
    from nodebake.profile.load import Loaded
    from nodebake.profile.schema import Profile

_MOST_MEMBERS = 7  # https://etcd.io/docs/v3.5/faq/#what-is-maximum-cluster-size
_LONGEST_HOST_NAME = 253  # RFC 1123, as DNS carries it
_OPERATING_SYSTEM = {"apkovl": "alpine", "nocloud": "debian"}
_OUR_ACCOUNTS = ("root", "etcd")


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield what is wrong with names, machine, outputs and accounts."""
    yield from _machine(loaded)
    yield from _outputs(loaded)
    yield from _names(loaded)
    yield from _members(loaded)
    yield from _accounts(loaded)


def warnings(profile: Profile) -> Iterator[str]:
    """Yield what works but is probably not meant."""
    count = sum(node.role == "member" for node in profile.nodes)
    if count and count % 2 == 0:
        yield (
            f"{count} members bear the loss of {(count - 1) // 2}, no more than {count - 1} would, "
            "and need one more for a quorum; make it an odd number"
        )
    if count > _MOST_MEMBERS:
        yield (
            f"{count} members: every write waits for {count // 2 + 1} of them; "
            f"use at most {_MOST_MEMBERS} and make the rest clients"
        )
    if count and "apkovl" in profile.outputs and profile.machine.data is None:
        yield (
            "the root of Alpine from an overlay is memory: a member forgets its data when it reboots, and a "
            "reboot of most members loses the cluster; add machine.data"
        )


def _machine(loaded: Loaded) -> Iterator[Problem]:
    machine = loaded.profile.machine
    archs = BOARDS[machine.board].archs
    if machine.arch and machine.arch not in archs:
        yield loaded.problem(
            "machine.arch", f"board {machine.board} is {archs[0]}, not {machine.arch}", "remove arch"
        )
    interface = loaded.profile.network.interface
    if machine.os == "alpine" and set(interface) & set("*?"):
        yield loaded.problem(
            "network.interface",
            f"{interface!r} is a pattern, which Alpine's ifupdown does not take",
            "write the interface's exact name, such as eth0",
        )


def _outputs(loaded: Loaded) -> Iterator[Problem]:
    profile = loaded.profile
    system = profile.machine.os
    for index, output in enumerate(profile.outputs):
        path = f"outputs[{index}]"
        if output in profile.outputs[:index]:
            yield loaded.problem(path, f"{output} is already there", "keep one of them")
        elif _OPERATING_SYSTEM.get(output, system) != system:
            needed = _OPERATING_SYSTEM[output]
            yield loaded.problem(
                path,
                f"{output} is for {needed}, and machine.os is {system}",
                f"remove {output}, or write os: {needed}",
            )


def _names(loaded: Loaded) -> Iterator[Problem]:
    cluster = loaded.profile.cluster
    taken = dict.fromkeys(
        (*cluster.shared_names, *_qualified(cluster.shared_names, cluster.domain)), "any member"
    )
    taken["localhost"] = "every machine"
    for index, node in enumerate(loaded.profile.nodes):
        own: dict[str, str] = {node.name: f"nodes[{index}].name"}
        for nth, name in enumerate(node.names):
            own.setdefault(name, f"nodes[{index}].names[{nth}]")
        for name, path in own.items():
            if name in taken:
                yield loaded.problem(
                    path, f"{name} is already {taken[name]}'s", "give every node names of its own"
                )
        for name in (*own, *_qualified([node.name], cluster.domain)):
            taken.setdefault(name, node.name)
            if len(name) > _LONGEST_HOST_NAME:
                yield loaded.problem("cluster.domain", f"{name} has more than 253 characters", "shorten it")


def _qualified(names: Sequence[str], domain: str | None) -> Iterator[str]:
    return (f"{name}.{domain}" for name in names if domain)


def _members(loaded: Loaded) -> Iterator[Problem]:
    if not any(node.role == "member" for node in loaded.profile.nodes):
        what = "no node is a member, nothing runs etcd"
        yield loaded.problem("nodes", what, "give some role: member")


def _accounts(loaded: Loaded) -> Iterator[Problem]:
    users = loaded.profile.access.users
    for index, user in enumerate(users):
        path = f"access.users[{index}].name"
        if user.name in _OUR_ACCOUNTS:
            todo = "choose another name; root's keys go into access.ssh_authorized_keys"
            yield loaded.problem(path, f"{user.name} is an account that every node has", todo)
        elif user.name in {other.name for other in users[:index]}:
            yield loaded.problem(path, f"{user.name} is already there", "give every user a name of their own")
