"""What a changed profile means for nodes that run, told from what they were baked from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from nodebake.components.etcd.releases import objection, release
from nodebake.errors import UsageError
from nodebake.pipeline import outline, workshop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nodebake.pipeline import Options
    from nodebake.pipeline.outline import Outline
    from nodebake.plan import Plan

Effect = Literal[
    "nothing", "certificates", "restart", "new artefact", "upgrade", "members", "replace", "impossible"
]
ORDER: tuple[Effect, ...] = get_args(Effect)
"""From what nobody notices to what cannot be done."""

_ARTEFACT = "build, and put the new artefact on the node; it comes with the next start"
_MEMBERS = "./invoke members"
_CERTIFICATES = "./invoke certs.renew --push, without a restart; the rest comes with the next artefact"
_ASKED = "build; then one member after the other starts with its new artefact; clients and the desk ask there"
_RESTART = "./invoke upgrade --push, one member after the other"
_REPLACE = "one member after the other, with an empty disk: stop it, ./invoke replace"
_KEPT = "its data would stay behind; " + _REPLACE
_SEEDED = "it stands in the cluster's etcd since the founding; change it there, then flanneld's artefact"
_FOUNDED = "vault, authority and token have this name; found another cluster, and restore a backup into it"

# By the beginning of the path; the first that fits counts.
_RULES: tuple[tuple[str, Effect, str], ...] = (
    ("schema", "nothing", ""),
    ("cluster.name", "impossible", _FOUNDED),
    ("cluster.", "certificates", _CERTIFICATES),
    ("pki.authority.passphrase", "nothing", "./invoke vault.passphrase"),
    ("pki.authority.", "nothing", "the authority stays as it is until ./invoke certs.rotate"),
    ("pki.backdate", "nothing", "it counts when the next certificate is issued"),
    ("pki.", "certificates", "./invoke certs.renew --push, without a restart"),
    ("etcd.version", "upgrade", "./invoke upgrade --push, one member after the other"),
    ("etcd.storage", "nothing", "the values that it picks are told by themselves"),
    ("etcd.peer_port", "members", f"{_MEMBERS}, one member after the other"),
    ("etcd.client_port", "new artefact", _ASKED),
    ("etcd.data_dir", "replace", _KEPT),
    ("etcd.wal_dir", "replace", _KEPT),
    ("etcd.wal_device", "replace", _KEPT),
    ("etcd.", "restart", _RESTART),
    ("machine.data.size", "nothing", "it counts when an image is written"),
    ("machine.data", "replace", _KEPT),
    ("machine.os", "replace", _REPLACE),
    ("machine.board", "replace", _REPLACE),
    ("machine.arch", "replace", _REPLACE),
    ("flannel.network", "impossible", _SEEDED),
    ("flannel.subnet_length", "impossible", _SEEDED),
    ("flannel.backend", "impossible", _SEEDED),
    ("flannel.prefix", "impossible", _SEEDED),
    ("outputs", "nothing", "it counts in the next build"),
)
_SECTIONS = ("flannel", "firewall", "k3s")
_FILTER = "firewall."
_USERS = "etcd.auth"
# What a client's machine has of it is etcdctl and its certificate.
_FOR_CLIENTS: Mapping[Effect, Effect] = {
    "restart": "new artefact",
    "upgrade": "new artefact",
    "members": "new artefact",
    "replace": "new artefact",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One value that is another one now.

    Attributes:
        path: in the profile.
        before: as the node was baked; None if it was not there.
        after: as the profile has it; None if it is not there any more.
        effect: what it comes to.
        todo: what to do; empty for nothing.
    """

    path: str
    before: Any
    after: Any
    effect: Effect
    todo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """What is to be done about one node.

    Attributes:
        node: its name.
        changes: every value that changed.
    """

    node: str
    changes: tuple[Change, ...]

    @property
    def effect(self) -> Effect:
        """The most that any of the changes comes to."""
        return max((one.effect for one in self.changes), key=ORDER.index, default="nothing")

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold of it."""
        return {**asdict(self), "effect": self.effect}


def compare(plan: Plan, options: Options) -> tuple[Consequence, ...]:
    """Return what the profile of `plan` means for the nodes of the last build.

    Raises:
        ProfileError, UsageError: there is no such build, or the user's files cannot be read.
    """
    before = outline.read(options.out)
    if not before:
        raise UsageError(
            f"no build lies in {options.out} that could be compared with", hint="./invoke build makes one"
        )
    return consequences(before, outline.outlines(plan, workshop.users(plan)))


def consequences(before: Mapping[str, Outline], after: Mapping[str, Outline]) -> tuple[Consequence, ...]:
    """Return what is to be done about every node that there is or was, in the profile's order.

    Args:
        before: what the nodes were baked from.
        after: what they would be baked from now.
    """
    names = dict.fromkeys((*after, *before))
    company = _company(before) != _company(after)
    found = []
    for name in names:
        if name not in before:
            changes = [_added(after[name], before)]
        elif name not in after:
            changes = [_removed(before[name])]
        else:
            changes = [
                *_settings(before[name], after[name], company=company),
                *_own(before[name], after[name]),
            ]
            changes += [_others()] if company else []
        found.append(Consequence(node=name, changes=tuple(changes)))
    return tuple(found)


def _company(nodes: Mapping[str, Outline]) -> dict[str, tuple[str, ...]]:
    return {name: (one.role, *one.interfaces) for name, one in nodes.items()}


def _others() -> Change:
    return Change(
        path="nodes",
        before=None,
        after=None,
        effect="nothing",
        todo="its list of the others comes with the next artefact, or with ./invoke members --live --push",
    )


def _settings(before: Outline, after: Outline, *, company: bool) -> Iterator[Change]:
    old, new = before.settings, after.settings
    for path in dict.fromkeys((*new, *old)):
        if old.get(path) != new.get(path):
            effect, todo = _meaning(path, old, new)
            if company and path.startswith(_FILTER) and effect == "restart":
                effect, todo = "members", f"{_MEMBERS} --live --push loads the rules; etcd keeps running"
            if after.role == "client" and effect in _FOR_CLIENTS:
                effect, todo = _FOR_CLIENTS[effect], _ARTEFACT
            yield Change(path=path, before=old.get(path), after=new.get(path), effect=effect, todo=todo)


def _meaning(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Effect, str]:
    section = path.partition(".")[0]
    if section in _SECTIONS and not (_switched_on(section, old) and _switched_on(section, new)):
        return "new artefact", _ARTEFACT  # it comes or goes as a whole
    if path.startswith(_FILTER):
        return "restart", "./invoke upgrade --push loads the rules; etcd keeps running"
    if path.startswith(_USERS) and _switched_on(_USERS, old):
        return (
            "nothing",
            "users and roles are the cluster's since they were made: etcdctl changes them, as root",
        )
    if path == "etcd.version":
        wrong = objection([release(old[path])], release(new[path]), users=_switched_on(_USERS, new))
        if wrong:
            return "impossible", "; ".join(wrong)
    for beginning, effect, todo in _RULES:
        if path.startswith(beginning):
            return effect, todo
    return "new artefact", _ARTEFACT


def _switched_on(section: str, settings: Mapping[str, Any]) -> bool:
    return any(path.startswith(f"{section}.") for path in settings)


def _own(before: Outline, after: Outline) -> Iterator[Change]:
    """Yield what changed of the node's own values."""
    if before.role != after.role:
        yield Change(
            path="role",
            before=before.role,
            after=after.role,
            effect="members",
            todo=f"{_MEMBERS}, and a new artefact",
        )
    if before.interfaces != after.interfaces:
        moved = before.interfaces[0].partition("/")[0] != after.interfaces[0].partition("/")[0]
        member = after.role == before.role == "member"
        yield Change(
            path="address",
            before=before.interfaces,
            after=after.interfaces,
            effect="members" if moved and member else "new artefact",
            todo=f"{_MEMBERS}; then a new artefact, with its data" if moved and member else _ARTEFACT,
        )
    if before.names != after.names:
        yield Change(
            path="names", before=before.names, after=after.names, effect="certificates", todo=_CERTIFICATES
        )


def _added(node: Outline, before: Mapping[str, Outline]) -> Change:
    address = node.interfaces[0].partition("/")[0]
    former = next(
        (name for name, one in before.items() if one.interfaces[0].partition("/")[0] == address), None
    )
    if node.role == "member" and former and before[former].role == "member":
        return Change(
            path="name",
            before=former,
            after=None,
            effect="impossible",
            todo=f"a member keeps its name: {former} has {address}; add this one with another address,"
            f" then remove {former}",
        )
    if node.role == "member":
        return Change(path="role", before=None, after="member", effect="members", todo=_MEMBERS)
    return Change(path="role", before=None, after="client", effect="new artefact", todo="build, and start it")


def _removed(node: Outline) -> Change:
    if node.role == "member":
        return Change(path="role", before="member", after=None, effect="members", todo=_MEMBERS)
    todo = "take it away; ./invoke members --live revokes its certificates"
    return Change(path="role", before="client", after=None, effect="nothing", todo=todo)
