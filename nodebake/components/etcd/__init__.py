"""etcd: a member's configuration, certificates, binaries and service; etcdctl on every node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.components.contract import DESK, Baked, Component, Desk, Materials, Want
from nodebake.components.etcd import accounts, checks
from nodebake.components.etcd.config import conf_yml, rehearsal_yml
from nodebake.components.etcd.part import CONFIG_FILE, REHEARSAL_FILE, SNAPSHOT_FILE, EtcdPart, Pair
from nodebake.components.etcd.resolve import resolve
from nodebake.components.mount import unit_name
from nodebake.overlay import render
from nodebake.pki import USER, LeafRequest
from nodebake.plan import Mount, Needs, Opening, with_part
from nodebake.tree import Entry, Tree, file, link, merge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.errors import Problem
    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.load import Loaded

__all__ = ["COMPONENT", "CONFIG_FILE", "EtcdPart", "Pair", "bake", "decide", "leaves", "wants"]

_LOCAL_DNS = ("localhost",)
_LOCAL_IPS = ("127.0.0.1", "::1")
# etcd's RBAC takes the common name for the user; root is its superuser.
_OPERATOR = LeafRequest(holder=DESK, name="client", common_name="root", usages=("client",))


def decide(loaded: Loaded, plan: Plan) -> tuple[Plan, list[Problem]]:
    """Return `plan` with an `EtcdPart`, its settings and warnings, and everything wrong in the profile."""
    unknown = list(checks.known_version(loaded))
    if unknown:
        return plan, unknown
    part, settings = resolve(loaded, plan)
    members = tuple(node.name for node in plan.members)
    needs = Needs(
        openings=(
            Opening(port=part.client_port, callers="clients", nodes=members, name="etcd for clients"),
            Opening(port=part.peer_port, callers="members", nodes=members, name="etcd among members"),
        ),
        mounts=(Mount(name="wal", device=part.wal_device, mountpoint=part.wal_mount, role="member"),)
        if part.wal_device
        else (),
        packages=("e2fsprogs",) if part.wal_device else (),
    )
    planned = with_part(plan, part, settings, tuple(checks.warnings(plan, part)), needs)
    return planned, [*checks.problems(loaded, plan, part), *accounts.problems(loaded, plan)]


def wants(plan: Plan) -> tuple[Want, ...]:
    """Return etcd and its tools for the plan's architecture."""
    part = plan.part(EtcdPart)
    files = tuple(dict.fromkeys(("etcd", "etcdctl", part.restorer)))
    return (Want(name="etcd", version=part.version, arch=plan.arch, files=files, libc=plan.libc),)


def leaves(plan: Plan, node: NodePlan) -> tuple[LeafRequest, ...]:
    """Return the node's leaves: server and peer for a member, a client's for every node.

    Server and peer can both be either side of a connection: members call each other, and etcd's HTTP
    gateway calls its own server with the server's certificate.
    """
    names = tuple(dict.fromkeys((*node.dns, *plan.shared_names, *_LOCAL_DNS)))
    ips = tuple(dict.fromkeys((*node.ips, *_LOCAL_IPS)))
    return tuple(
        LeafRequest(
            holder=node.name,
            name=name,
            common_name=node.name,
            dns=() if name == "client" else names,
            ips=() if name == "client" else ips,
            usages=("client",) if name == "client" else ("server", "client"),
        )
        for name in _leaf_names(plan, node)
    )


def bake(plan: Plan, node: NodePlan, materials: Materials) -> Baked:
    """Return the node's etcd: all of it for a member, certificate and etcdctl for a client."""
    part = plan.part(EtcdPart)
    pieces = [_tools(part, materials), _pki(plan, node, materials), _programs(plan, node, materials)]
    if node.role == "member":
        revocations = Tree({part.crl: file(materials.revocations)})
        pieces += [_service(plan, node, materials), _configuration(part, node, materials), revocations]
    return Baked(root=merge(*pieces))


def trusting(plan: Plan, node: NodePlan) -> tuple[str, ...]:
    """Return etcd on a member: it reads certificates at every handshake, but authorities when it starts."""
    del plan
    return ("etcd",) if node.role == "member" else ()


def company(plan: Plan, node: NodePlan) -> tuple[str, ...]:
    """Return what etcd-run and etcdctl go by; etcd itself is told of its members by the cluster."""
    del plan
    return ("etc/profile.d/etcdctl.sh", *(("etc/nodebake/etcd",) if node.role == "member" else ()))


def desk_leaves(plan: Plan) -> tuple[LeafRequest, ...]:
    """Return the operator's leaf."""
    del plan
    return (_OPERATOR,)


def desk(plan: Plan, given: Desk) -> Mapping[str, bytes]:
    """Return the operators' leaves and keys, the authorities' certificates, and etcdctl's environment."""
    users = {name.removeprefix(USER): leaf for name, leaf in given.leaves.items() if name.startswith(USER)}
    named = {"admin": given.leaves[_OPERATOR.name], **users}
    part = plan.part(EtcdPart)
    values = {
        "endpoints": ",".join(part.endpoints),
        "home": f"build/{plan.name}/{DESK}",
        "old_api": part.knows_old_api,
    }
    return {
        # In one file: of two, a client that starts while they are renewed may meet the old one and the new.
        **{f"{name}.pem": leaf.certificate + leaf.key for name, leaf in named.items()},
        "ca.crt": given.trust,
        "etcdctl.env": render("etcd", ["desk"], values)["etcdctl.env"].content,
    }


COMPONENT = Component(
    part=EtcdPart,
    decide=decide,
    bake=bake,
    wants=wants,
    leaves=leaves,
    trusting=trusting,
    services=trusting,
    company=company,
    desk_leaves=desk_leaves,
    desk=desk,
)


def _leaf_names(plan: Plan, node: NodePlan) -> tuple[str, ...]:
    part = plan.part(EtcdPart)
    if node.role != "member":
        return ("client",)
    return tuple(sorted(part.pairs.values(), reverse=True))


def _tools(part: EtcdPart, materials: Materials) -> Tree:
    del materials  # paths only
    return render(
        "etcd",
        ["tools"],
        {
            "bin_dir": part.bin_dir,
            "endpoints": part.endpoints,
            "ca": part.ca,
            "cert": part.client.certificate,
            "key": part.client.key,
            "old_api": part.knows_old_api,
        },
    )


def _pki(plan: Plan, node: NodePlan, materials: Materials) -> Tree:
    part = plan.part(EtcdPart)
    names = part.pairs if node.role == "member" else {part.client: "client"}
    entries: dict[str, Entry] = {part.ca: file(materials.trust)}
    for pair, name in names.items():
        leaf = materials.leaves[name]
        entries[pair.certificate] = file(leaf.certificate)
        entries[pair.key] = file(leaf.key, 0o600)
    return Tree(entries)


def _programs(plan: Plan, node: NodePlan, materials: Materials) -> Tree:
    fetched, part = materials.fetched["etcd"], plan.part(EtcdPart)
    names = ["etcd", "etcdctl"] if node.role == "member" else ["etcdctl"]
    if node.role == "member" and materials.snapshot and part.restorer not in names:
        names.append(part.restorer)
    entries = {f"{part.bin_dir}/{name}": file(fetched.files[name], 0o755, shared=True) for name in names}
    entries |= {path: file(content, 0o755, shared=True) for path, content in fetched.runtime.items()}
    return Tree(entries)


def _configuration(part: EtcdPart, node: NodePlan, materials: Materials) -> Tree:
    token = materials.token
    return Tree(
        {
            CONFIG_FILE: file(conf_yml(part, node, token=token)),
            REHEARSAL_FILE: file(rehearsal_yml(part, node, token=token)),
        }
    )


def _service(plan: Plan, node: NodePlan, materials: Materials) -> Tree:
    part = plan.part(EtcdPart)
    values = _values(plan, part) | _company(plan, node)
    values |= {
        "founder": materials.founder,
        "generation": materials.generation,
        "snapshot": SNAPSHOT_FILE if materials.snapshot else "",
    }
    tree = render("etcd", ["any", plan.init], values)
    if plan.profile.etcd.auth:
        local = f"https://127.0.0.1:{part.client_port}"
        tree = merge(tree, render("etcd", ["auth"], {"endpoint": local, "steps": accounts.steps(plan)}))
    if materials.snapshot:
        tree = merge(tree, Tree({SNAPSHOT_FILE: file(materials.snapshot, 0o600, shared=True)}))
    if plan.init == "openrc":
        return merge(tree, Tree({"etc/runlevels/default/etcd": link("/etc/init.d/etcd")}))
    enabled = "etc/systemd/system/multi-user.target.wants/etcd.service"
    return merge(tree, Tree({enabled: link("/etc/systemd/system/etcd.service")}))


def _company(plan: Plan, node: NodePlan) -> dict[str, object]:
    """Return what etcd-run asks the other members with, and for."""
    part = plan.part(EtcdPart)
    others = (member for member in plan.members if member.name != node.name)
    return {
        "member": node.name,
        "peer_url": part.peer_url(node),
        "others": [part.client_url(member) for member in others],
        "ca": part.ca,
        "cert": part.server.certificate,
        "key": part.server.key,
        "quorum": len(plan.members) // 2 + 1,
        "rehearsal_file": REHEARSAL_FILE,
    }


def _values(plan: Plan, part: EtcdPart) -> dict[str, object]:
    # Up to 3.4 etcd refuses to run on this architecture without being asked twice.
    old_arm = plan.arch == "aarch64" and part.release < (3, 5, 0)
    path = "livez" if part.has_livez() else "health?serializable=true"
    units = [unit_name(place) for place in (part.data_mount, part.wal_mount) if place]
    keys = dict.fromkeys((part.server.key, part.peer.key))
    certificates = dict.fromkeys((part.ca, part.crl, part.server.certificate, part.peer.certificate))
    return {
        "bin_dir": part.bin_dir,
        "config_file": CONFIG_FILE,
        "data_dir": part.data_dir,
        "wal_dir": part.wal_dir,
        "data_mount": part.data_mount,
        "data_device": part.data_device,
        "wal_mount": part.wal_mount,
        "wal_device": part.wal_device,
        "mount_units": units,
        "after": ["network.target", "nodebake-accounts.service", *units],
        "keys": list(keys),
        "readable": [CONFIG_FILE, REHEARSAL_FILE, *certificates, *keys],
        "health_url": f"http://127.0.0.1:{part.metrics_port}/{path}",
        "memory_limit": part.memory_limit,
        "environment": {"ETCD_UNSUPPORTED_ARCH": "arm64"} if old_arm else {},
        "open_files": part.open_files,
        "nice": part.nice,
        "oom_score_adjust": part.oom_score_adjust,
        "restart_delay": part.restart_delay,
    }
