"""etcd's users and roles: what a node is told to make, and names that etcd would take for something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nodebake.errors import ProfileError
from tests.components import DEBIAN, baked, decide, plan_of

if TYPE_CHECKING:
    from pathlib import Path

AUTH: dict[str, Any] = {
    "roles": [{"name": "app", "grants": [{"prefix": "/app/"}, {"prefix": "", "permission": "read"}]}],
    "users": [{"name": "ada", "roles": ["app"]}, {"name": "eve", "roles": ["root"]}],
}
STEPS = "etc/nodebake/etcd-auth"
SCRIPT = "usr/local/lib/nodebake/etcd-auth"


def steps(directory: Path, **changes: Any) -> list[str]:  # noqa: ANN401 - sections of a profile
    """Return what is to be done on a node, without the comment."""
    tree = baked(plan_of(directory, **changes))
    assert tree[SCRIPT].mode & 0o777 == 0o755
    return [line for line in tree[STEPS].content.decode().splitlines() if not line.startswith("#")]


def test_roles_come_before_the_users_that_have_them(tmp_path: Path) -> None:
    """All of the profile's, root, and each node, which may ask who the members are and nothing else."""
    assert steps(tmp_path, etcd={"auth": AUTH}) == [
        "endpoint https://127.0.0.1:2379",
        "role root",
        "role app",
        "grant app readwrite /app/",
        "grant app read",
        *("user root", "give root root"),
        *("user m1", "user m2", "user m3"),
        *("user ada", "give ada app"),
        *("user eve", "give eve root"),
    ]


def test_flannel_may_use_its_own_keys(tmp_path: Path) -> None:
    """What a component asks for in the plan becomes a role and a user of that name."""
    found = steps(tmp_path, etcd={"auth": {}}, flannel={"prefix": "/net"}, **DEBIAN)
    assert {"role flannel", "grant flannel readwrite /net/", "user flannel", "give flannel flannel"} <= set(
        found
    )


def test_without_the_section_there_are_no_users(tmp_path: Path) -> None:
    """Nothing is baked that would make any; false takes back what a profile brought."""
    for etcd in ({}, {"auth": False}):
        tree = baked(plan_of(tmp_path, etcd=etcd))
        assert {STEPS, SCRIPT}.isdisjoint(tree)


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"users": [{"name": "root"}]}, "etcd.auth.users[0].name: root is etcd's own"),
        ({"roles": [{"name": "m2"}]}, "etcd.auth.roles[0].name: m2 is a node"),
        ({"users": [{"name": "a"}, {"name": "a"}]}, "etcd.auth.users[1].name: a is there twice"),
        ({"users": [{"name": "a", "roles": ["b"]}]}, "etcd.auth.users[0].roles[0]: there is no role b"),
    ],
)
def test_what_cannot_be_a_user_or_a_role_is_refused(
    auth: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    """Each is told at its place."""
    _, problems = decide(tmp_path, etcd={"auth": auth})
    assert [expected in str(problem) for problem in problems] == [True]


@pytest.mark.parametrize("prefix", ["$(x)", "-x", "a b", "'"])
def test_a_prefix_that_a_shell_would_read_is_refused(prefix: str, tmp_path: Path) -> None:
    """Nor one that etcdctl would take for a flag."""
    auth = {"roles": [{"name": "a", "grants": [{"prefix": prefix}]}]}
    with pytest.raises(ProfileError, match="is not the beginning of a key"):
        decide(tmp_path, etcd={"auth": auth})
