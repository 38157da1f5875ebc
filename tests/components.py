"""Plans and materials for the tests of what components bake."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import stat
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from nodebake.components import COMPONENTS, chosen
from nodebake.components.contract import Fetched, Materials
from nodebake.pki import Authority, Leaf, Terms, new_host_key
from nodebake.plan import resolve
from nodebake.profile.load import load
from nodebake.tree import Tree, merge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nodebake.errors import Problem
    from nodebake.pki import Algorithm
    from nodebake.plan import NodePlan, Plan

EPOCH = 1_790_000_000
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqfKxLN1CvdpUvvJHQC4sK6x1X6U3J9mW0kTqzQ8y5V me@desk"
PROFILE: dict[str, Any] = {
    "schema": 1,
    "cluster": {"name": "edge", "domain": "edge.example.com"},
    "machine": {"os": "alpine", "board": "rpi3", "data": {}},
    "network": {"gateway": ["192.168.7.1"], "nameservers": ["192.168.7.1"], "ntp": ["pool.ntp.org"]},
    "nodes": [{"name": f"m{number}", "address": [f"192.168.7.1{number}/24"]} for number in (1, 2, 3)],
    "etcd": {"version": "3.5.16", "storage": "sdcard"},
    "access": {"ssh_authorized_keys": [KEY]},
    "outputs": ["apkovl"],
}
DEBIAN: dict[str, Any] = {"machine": {"os": "debian", "board": "vm"}, "outputs": ["rootfs"]}
K3S: dict[str, Any] = {"version": "v1.31.4+k3s1", "servers": ["m1", "m2"], "agents": ["m3"]}
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TERMS = Terms(lifetime=20 * 365 * 86400)


def decide(directory: Path, **changes: dict[str, Any] | list[Any]) -> tuple[Plan, list[Problem]]:
    """Return the plan and the problems of PROFILE with `changes` laid over its sections."""
    profile = copy.deepcopy(PROFILE)
    for section, change in changes.items():
        profile[section] = profile.get(section, {}) | change if isinstance(change, dict) else change
    path = directory / "edge.yaml"
    path.write_text(yaml.safe_dump(profile, sort_keys=False))
    loaded = load(str(path))
    plan, problems = resolve(loaded)
    for component in COMPONENTS:
        plan, more = component.decide(loaded, plan)
        problems += more
    return plan, problems


def plan_of(directory: Path, **changes: dict[str, Any] | list[Any]) -> Plan:
    """Return the plan of a profile that has to be right."""
    plan, problems = decide(directory, **changes)
    assert not problems, "\n".join(str(problem) for problem in problems)
    return plan


@cache
def authority() -> Authority:
    """Return the authority of all tests."""
    return Authority.mint("tests", TERMS, now=NOW)


def authorities(plan: Plan) -> dict[str, Leaf]:
    """Return certificates and keys of all further authorities of a plan."""
    wanted = (request for component in chosen(plan) for request in component.authorities(plan))
    return {request.name: _further(request.name, request.algorithm) for request in wanted}


@cache
def _further(name: str, algorithm: Algorithm) -> Leaf:
    made = Authority.mint(f"tests {name}", replace(TERMS, algorithm=algorithm), now=NOW)
    return Leaf(certificate=made.certificate, key=made.key_pem(None))


def materials(plan: Plan, node: NodePlan, *, programs: Mapping[str, bytes] | None = None) -> Materials:
    """Return real certificates and, unless `programs` says otherwise, programs that are only names."""
    leaves: dict[str, Leaf] = {
        request.name: authority().issue(request, TERMS, now=NOW)
        for component in chosen(plan)
        for request in component.leaves(plan, node)
    }
    fetched = {
        want.name: Fetched(
            files={name: (programs or {}).get(name, name.encode()) for name in want.files},
            runtime={} if programs else {"lib/ld-linux.so": b"loader"},
            used=(),
            fallback="",
            linking="static",
        )
        for component in chosen(plan)
        for want in component.wants(plan)
    }
    return Materials(
        fetched=fetched,
        leaves=leaves,
        trust=authority().trust,
        revocations=authority().revocations({}, now=NOW),
        token="edge-0123456789abcdef",  # noqa: S106 - of a test
        authorities=authorities(plan),
        secret=lambda purpose: hashlib.sha256(purpose.encode()).hexdigest(),
        host_key=new_host_key(),
        epoch=EPOCH,
        plan_digest=plan.digest(),
    )


def baked(plan: Plan, name: str = "m1", *, programs: Mapping[str, bytes] | None = None) -> Tree:
    """Return all root files of one node."""
    node = plan.node(name)
    given = materials(plan, node, programs=programs)
    return merge(*(component.bake(plan, node, given).root for component in chosen(plan)))


def text(tree: Tree, path: str) -> str:
    """Return a file's text."""
    return tree[path].content.decode()


def laid(tree: Tree, root: Path) -> Path:
    """Lay a node's files into a directory, without their owners, and return it."""
    for path, entry in tree.items():
        to = root / path
        if stat.S_ISDIR(entry.mode):
            to.mkdir(parents=True, exist_ok=True)
        elif stat.S_ISLNK(entry.mode):
            to.symlink_to(entry.content.decode())
        else:
            to.write_bytes(entry.content)
            to.chmod(stat.S_IMODE(entry.mode))
    return root
