"""What k3s, its nodes or the etcd under it would trip over: found before anything is written."""

from __future__ import annotations

import re
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network, ip_interface
from typing import TYPE_CHECKING

from nodebake.components.etcd import EtcdPart
from nodebake.components.k3s.flags import FLAGS, OWNED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.components.k3s.part import K3sPart
    from nodebake.errors import Problem
    from nodebake.plan import Plan
    from nodebake.profile.k3s import K3s
    from nodebake.profile.load import Loaded
    from nodebake.profile.types import Scalar

MIB = 1 << 20
OLDEST, NEWEST = 28, 37  # minors of Kubernetes 1
# Kubernetes' own bounds for an etcd beside it (cmd/kubeadm/app/constants, MinExternalEtcdVersion and
# SupportedEtcdVersion): by the first minor they hold for, the oldest release and the newest series.
_ETCD = {28: ((3, 5, 3), (3, 6)), 34: ((3, 5, 24), (3, 6)), 37: ((3, 5, 24), (3, 7))}
# An object of Kubernetes may have 1 MiB as ConfigMap or Secret, and more by other kinds; etcd's own default.
_LEAST_REQUEST = 1_572_864
# A list that is read in pieces goes on for five minutes at the revision that it began with; the API server
# itself compacts every five.
_LEAST_HISTORY, _LEAST_REVISIONS = 600, 1000
_LEAST_QUOTA = 128 * MIB
_SERVER_MEMORY, _AGENT_MEMORY = 2048 * MIB, 512 * MIB  # docs.k3s.io, Requirements
_NODE_MASK = 24  # what kube-controller-manager gives to a node
_SERVICE_BITS, _SERVICE_LEAST = 12, 27
_LEAST_TOKEN = 16
_TOKEN = re.compile(r"[\x21-\x39\x3b-\x7e]+", re.ASCII)  # printable, and no colon, which parts a long token
_UNITS = {"s": 1, "m": 60, "h": 3600}


def problems(loaded: Loaded, plan: Plan, k3s: K3s, part: K3sPart) -> Iterator[Problem]:
    """Yield everything in the profile that keeps this k3s from running, each at its line."""
    yield from _nodes(loaded, plan, k3s, part)
    yield from _version(loaded, plan, k3s)
    yield from _datastore(loaded, plan)
    yield from _networks(loaded, plan, k3s)
    yield from _machines(loaded, plan, part)
    yield from _token(loaded, plan, k3s)
    for name, values in k3s.settings.items():
        for what, todo in _setting(name, values):
            yield loaded.problem(f"k3s.settings.{name}", what, todo)


def warnings(plan: Plan, part: K3sPart) -> Iterator[str]:
    """Yield what works, but not as well as the user may think."""
    least = _SERVER_MEMORY if part.named("server") else _AGENT_MEMORY
    if plan.memory < least:
        yield (
            f"k3s asks for {least // MIB} MiB of memory, and these machines have {plan.memory // MIB}: "
            "there will be little room for containers"
        )
    if plan.board.firmware and plan.init == "systemd":
        yield "k3s needs the memory controller: add cgroup_enable=memory to cmdline.txt of the image"


def token_of(plan: Plan, k3s: K3s) -> str:
    """Return the token that the profile brings along; empty if it leaves that to the vault.

    Raises:
        OSError, UnicodeDecodeError: its file cannot be read.
    """
    if k3s.token_file is None:
        return ""
    text = (plan.directory / k3s.token_file).read_text(encoding="utf-8")
    return text.partition("\n")[0].strip()


def _nodes(loaded: Loaded, plan: Plan, k3s: K3s, part: K3sPart) -> Iterator[Problem]:
    names = [node.name for node in plan.nodes]
    taken: dict[str, str] = {}
    for role, chosen in (("servers", k3s.servers), ("agents", k3s.agents)):
        for index, name in enumerate(chosen):
            path = f"k3s.{role}[{index}]"
            if name not in names:
                close = get_close_matches(name, names, n=1)
                todo = f"did you mean {close[0]}?" if close else f"the nodes are {', '.join(names)}"
                yield loaded.problem(path, f"there is no node {name}", todo)
            elif name in taken:
                yield loaded.problem(path, f"{name} is already among {taken[name]}", "name it once")
            taken.setdefault(name, role)
    for index, node in enumerate(plan.nodes):
        if set(node.dns) & set(part.names):
            what = f"{node.name} has a name that stands for any server of k3s, {part.names[-1]}"
            yield loaded.problem(f"nodes[{index}].name", what, "take another name")


def _version(loaded: Loaded, plan: Plan, k3s: K3s) -> Iterator[Problem]:
    minor = int(k3s.version.split(".")[1])
    if not OLDEST <= minor <= NEWEST:
        what = f"k3s {k3s.version} is not known here"
        yield loaded.problem("k3s.version", what, f"take a release of v1.{OLDEST} to v1.{NEWEST}")
        return
    oldest, newest = next(bounds for first, bounds in reversed(_ETCD.items()) if minor >= first)
    etcd = plan.part(EtcdPart)
    if not (oldest <= etcd.release and etcd.release[:2] <= newest):
        told = ".".join(map(str, oldest)), ".".join(map(str, newest))
        what = f"k3s {k3s.version} is not served by etcd {etcd.version}"
        yield loaded.problem("k3s.version", what, f"take etcd {told[0]} to {told[1]}, or another k3s")


def _datastore(loaded: Loaded, plan: Plan) -> Iterator[Problem]:
    etcd = plan.part(EtcdPart)
    if etcd.max_request_bytes < _LEAST_REQUEST:
        what = f"{etcd.max_request_bytes} bytes are too few for the objects that k3s keeps"
        yield loaded.problem("etcd.max_request_bytes", what, f"write {_LEAST_REQUEST} or more")
    if etcd.quota_backend_bytes < _LEAST_QUOTA:
        what = f"{etcd.quota_backend_bytes // MIB} MiB are too few for k3s"
        yield loaded.problem("etcd.quota_backend_bytes", what, f"write {_LEAST_QUOTA // MIB}MiB or more")
    kept = etcd.auto_compaction_retention
    if etcd.auto_compaction_mode == "revision":
        if kept.isdigit() and int(kept) < _LEAST_REVISIONS:
            what = f"k3s reads lists in pieces, and {kept} revisions are soon past"
            yield loaded.problem("etcd.auto_compaction_retention", what, f"write {_LEAST_REVISIONS} or more")
    elif _seconds(kept) < _LEAST_HISTORY:
        what = f"k3s goes on reading a list for five minutes, and a history of {kept} may end before"
        yield loaded.problem("etcd.auto_compaction_retention", what, "write 10m or more, such as 1h")


def _seconds(retention: str) -> int:
    """Return the seconds of a periodic retention; a number alone is hours (etcd's documentation)."""
    return int(retention) * 3600 if retention.isdigit() else int(retention[:-1]) * _UNITS[retention[-1]]


def _networks(loaded: Loaded, plan: Plan, k3s: K3s) -> Iterator[Problem]:
    if plan.profile.flannel:
        what = "k3s brings flannel along, and two of them would want the same interface and port"
        yield loaded.problem("flannel", what, "remove it, or k3s")
    own = {
        str(network): "which the nodes are in"
        for node in plan.nodes
        for network in (ip_interface(one).network for one in node.interfaces)
    }
    for path, network in (("k3s.cluster_cidr", k3s.cluster_cidr), ("k3s.service_cidr", k3s.service_cidr)):
        yield from _overlaps(loaded, path, network, own)
        own[str(network)] = "the containers' network"
    if k3s.cluster_cidr.prefixlen > _NODE_MASK or 2 ** (_NODE_MASK - k3s.cluster_cidr.prefixlen) < len(
        (*k3s.servers, *k3s.agents)
    ):
        what = (
            f"{k3s.cluster_cidr} has no /{_NODE_MASK} for each of {len(k3s.servers) + len(k3s.agents)} nodes"
        )
        yield loaded.problem("k3s.cluster_cidr", what, "write a larger network, such as 10.42.0.0/16")
    if not _SERVICE_BITS <= k3s.service_cidr.prefixlen <= _SERVICE_LEAST:
        what = f"{k3s.service_cidr} is not of a size that Kubernetes takes for services"
        yield loaded.problem(
            "k3s.service_cidr", what, f"take a prefix of /{_SERVICE_BITS} to /{_SERVICE_LEAST}"
        )


def _overlaps(loaded: Loaded, path: str, network: IPv4Network, others: dict[str, str]) -> Iterator[Problem]:
    todo = "take a network that nothing else uses"
    crossed = [one for one in others if ":" not in one and network.overlaps(IPv4Network(one))]
    for other in crossed:
        yield loaded.problem(path, f"{network} overlaps {other}, {others[other]}", todo)
    for server in () if crossed else loaded.profile.network.nameservers:
        if isinstance(server, IPv4Address) and server in network:
            what = f"{network} has the name server {server} in it, which then cannot be reached"
            yield loaded.problem(path, what, todo)


def _machines(loaded: Loaded, plan: Plan, part: K3sPart) -> Iterator[Problem]:
    interface = plan.profile.network.interface
    if set(interface) & set("*?") and plan.profile.machine.os != "alpine":  # which refuses it itself
        what = f"{interface!r} is a pattern, and k3s wants to know the very interface"
        yield loaded.problem("network.interface", what, "write the interface's exact name, such as eth0")
    if part.in_memory and plan.profile.machine.data is None:
        what = (
            "the root of Alpine from an overlay is memory, which k3s's images and containers do not fit into"
        )
        yield loaded.problem("machine", what, "add data, a partition for what must outlive a reboot")
    for index, node in enumerate(plan.nodes):
        if node.name in part.roles and not any("." in ip for ip in node.ips):
            what = f"{node.name} has no IPv4 address, which k3s is set up for here"
            yield loaded.problem(f"nodes[{index}].address", what, "give it one, or leave it out of k3s")


def _token(loaded: Loaded, plan: Plan, k3s: K3s) -> Iterator[Problem]:
    todo = f"write {_LEAST_TOKEN} or more printable characters without spaces and colons in its first line"
    try:
        token = token_of(plan, k3s)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        yield loaded.problem("k3s.token_file", f"{k3s.token_file} cannot be read: {why}", "correct the name")
        return
    if k3s.token_file and not _TOKEN.fullmatch(token):
        yield loaded.problem("k3s.token_file", f"{k3s.token_file} has no token that k3s takes", todo)
    elif k3s.token_file and len(token) < _LEAST_TOKEN:
        what = f"the token in {k3s.token_file} is too short: who guesses it is an administrator"
        yield loaded.problem("k3s.token_file", what, todo)


def _setting(name: str, values: tuple[Scalar, ...]) -> Iterator[tuple[str, str]]:
    flag = FLAGS.get(name)
    if flag is None:
        close = get_close_matches(name.lower().replace("_", "-"), FLAGS, n=1)
        todo = f"did you mean {close[0]}?" if close else "see k3s server --help; a key has no dashes in front"
        yield "k3s has no such setting", todo
    elif name in OWNED:
        source = OWNED[name]
        yield _owned(source)
    elif flag.kind != "list" and len(values) != 1:
        yield "is one value, not a list", "write one"
    else:
        yield from _types(flag.kind, values)


def _owned(source: str) -> tuple[str, str]:
    if source.startswith("nothing"):
        return "this is for an etcd inside of k3s, and yours is beside it", "remove it"
    if source:
        return f"nodebake writes this one itself, from {source}", "remove it here"
    return "nodebake decides this one, the cluster depends on it", "remove it"


def _types(kind: str, values: tuple[Scalar, ...]) -> Iterator[tuple[str, str]]:
    for value in values:
        match kind:
            case "bool" if not isinstance(value, bool):
                yield "must be true or false", "write it without quotes"
            case "number" if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                yield "must be a whole number", "write it without quotes and unit"
            case "string" | "list" if not isinstance(value, str):
                yield "must be text", "put it in quotes"
