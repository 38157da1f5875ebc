"""etcd's users and roles: what a member makes of them once there is a quorum; see etcd-auth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.profile.etcd import Auth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.errors import Problem
    from nodebake.plan import Plan
    from nodebake.profile.load import Loaded

Roles = dict[str, list[tuple[str, str]]]  # permission and prefix of every grant

ROOT = "root"  # etcd's own name for who may do everything, user and role


def steps(plan: Plan) -> tuple[str, ...]:
    """Return what is to be done, one step per line, in words without blanks: what etcd-auth reads.

    Every node is a user as well, without a role: what it asks, it asks as itself.
    """
    auth = plan.profile.etcd.auth or Auth()
    roles: Roles = {
        ROOT: [],
        **{one.name: [(g.permission, g.prefix) for g in one.grants] for one in auth.roles},
    }
    users = {
        ROOT: [ROOT],
        **{node.name: [] for node in plan.nodes},
        **{one.name: [*one.roles] for one in auth.users},
    }
    for name, prefixes in plan.needs.users.items():
        roles.setdefault(name, []).extend(("readwrite", prefix) for prefix in prefixes)
        users.setdefault(name, []).append(name)
    return tuple(_lines(roles, users))


def _lines(roles: Roles, users: dict[str, list[str]]) -> Iterator[str]:
    for role, grants in roles.items():
        yield f"role {role}"
        for permission, prefix in grants:
            yield f"grant {role} {permission} {prefix}".rstrip()
    for user, given in users.items():
        yield f"user {user}"
        for role in given:
            yield f"give {user} {role}"


def problems(loaded: Loaded, plan: Plan) -> Iterator[Problem]:
    """Yield what etcd would refuse, or take for something else, each at its line."""
    auth = loaded.profile.etcd.auth
    if auth is None:
        return
    own = {ROOT: "root is etcd's own", **{node.name: f"{node.name} is a node" for node in plan.nodes}}
    names = {"roles": [one.name for one in auth.roles], "users": [one.name for one in auth.users]}
    for kind, given in names.items():
        for index, name in enumerate(given):
            taken = own.get(name) or (f"{name} is there twice" if name in given[:index] else "")
            if taken:
                yield loaded.problem(f"etcd.auth.{kind}[{index}].name", taken, "take another name")
    known = {ROOT, *names["roles"]}
    for index, user in enumerate(auth.users):
        for place, role in enumerate(user.roles):
            if role not in known:
                yield loaded.problem(
                    f"etcd.auth.users[{index}].roles[{place}]",
                    f"there is no role {role}",
                    f"take one of {', '.join(sorted(known))}, or add it to roles",
                )
