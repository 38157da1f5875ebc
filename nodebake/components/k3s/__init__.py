"""k3s: Kubernetes with the cluster's etcd as its datastore, known to the operator before its first start."""

from __future__ import annotations

import base64
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nodebake.components.contract import DESK, Baked, Component, Desk, Materials, Want
from nodebake.components.etcd import EtcdPart
from nodebake.components.k3s import checks
from nodebake.components.k3s.config import config_yaml, four
from nodebake.components.k3s.part import API_PORT, CERT, CONFIG, KEY, LEAF, PASSWORD, TLS, TOKEN, K3sPart
from nodebake.components.mount import unit_name
from nodebake.overlay import render
from nodebake.pki import AuthorityRequest, LeafRequest
from nodebake.plan import Needs, Opening, Setting, with_part
from nodebake.tree import Entry, Tree, file, link, merge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodebake.components.k3s.part import Role
    from nodebake.errors import Problem
    from nodebake.plan import NodePlan, Plan
    from nodebake.profile.k3s import K3s
    from nodebake.profile.load import Loaded

__all__ = ["COMPONENT", "K3sPart", "bake", "decide", "desk", "leaves", "wants"]

_KUBELET, _FLANNEL = 10250, {"vxlan": 8472, "wireguard-native": 51820}  # docs.k3s.io, Requirements
# As a user of etcd: Kubernetes' objects, its compactor's key, what servers share before there is an API.
_USER, _KEYS = "k3s", ("/registry/", "compact_rev_key", "/bootstrap/")
_IMAGES = "k3s-airgap-images.tar.zst"
_BIN, _SHARE = "/usr/local/bin", "/usr/local/share/nodebake"
# docs.k3s.io, "Using Custom CA Certificates": with these under server/tls k3s makes none of its own. It asks
# for those of an etcd inside of it as well.
_AUTHORITIES = {
    "server-ca": "k3s-server",
    "client-ca": "k3s-client",
    "request-header-ca": "k3s-request-header",
    "etcd/peer-ca": "k3s-etcd-peer",
    "etcd/server-ca": "k3s-etcd-server",
}
_SERVICE_ACCOUNTS = "k3s-service"  # signs tokens; nobody asks for its certificate
_ADMIN = LeafRequest(
    holder=DESK,
    name="kubernetes",
    common_name="system:admin",
    organization="system:masters",
    usages=("client",),
    authority=AuthorityRequest(name=_AUTHORITIES["client-ca"]),
)
_KEPT = ("/var/lib/kubelet", "/var/log/pods")  # what k3s keeps elsewhere than in its data directory
_MODULES = ("br_netfilter", "overlay", "vxlan")
_SYSCTL = {"net.ipv4.ip_forward": 1, "net.bridge.bridge-nf-call-iptables": 1}


def decide(loaded: Loaded, plan: Plan) -> tuple[Plan, list[Problem]]:
    """Return `plan` with a `K3sPart`, if the profile has this section."""
    k3s = plan.profile.k3s
    if k3s is None or not plan.has(EtcdPart):
        return plan, []
    part = _part(plan, k3s)
    settings = [Setting(path="k3s.names", value=list(part.names), origin="derived: any server")]
    if k3s.data_dir is None:
        origin = "derived: on the data partition" if plan.profile.machine.data else "default"
        settings.append(Setting(path="k3s.data_dir", value=part.data_dir, origin=origin))
    planned = with_part(plan, part, settings, tuple(checks.warnings(plan, part)), _needs(plan, k3s, part))
    if k3s.token_file:
        planned = planned.also_from(plan.directory / k3s.token_file)
    return planned, list(checks.problems(loaded, plan, k3s, part))


def wants(plan: Plan) -> tuple[Want, ...]:
    """Return k3s, and the images of the same release."""
    part = plan.part(K3sPart)
    program = Want(name="k3s", version=part.version, arch=plan.arch, files=("k3s",), libc=plan.libc)
    images = Want(name="k3s-images", version=part.version, arch=plan.arch, files=(_IMAGES,), whole=True)
    return (program, images) if part.airgap else (program,)


def authorities(plan: Plan) -> tuple[AuthorityRequest, ...]:
    """Return k3s's own authorities; none of them is a branch of etcd's, which trusts nobody else."""
    del plan
    names = (AuthorityRequest(name=name) for name in _AUTHORITIES.values())
    return (*names, AuthorityRequest(name=_SERVICE_ACCOUNTS, algorithm="rsa-2048"))


def leaves(plan: Plan, node: NodePlan) -> tuple[LeafRequest, ...]:
    """Return a server's client certificate for etcd."""
    if plan.part(K3sPart).roles.get(node.name) != "server":
        return ()
    return (LeafRequest(holder=node.name, name=LEAF, common_name=_USER, usages=("client",)),)


def trusting(plan: Plan, node: NodePlan) -> tuple[str, ...]:
    """Return k3s on a server, a client of etcd that runs for as long as its node."""
    return ("k3s",) if plan.part(K3sPart).roles.get(node.name) == "server" else ()


def company(plan: Plan, node: NodePlan) -> tuple[str, ...]:
    """Return the files with the members to call; k3s reads them when it is next started."""
    return (CONFIG.lstrip("/"), "etc/nodebake/k3s") if node.name in plan.part(K3sPart).roles else ()


def bake(plan: Plan, node: NodePlan, materials: Materials) -> Baked:
    """Return the node's k3s: program, images, configuration and service; a server's keys."""
    part = plan.part(K3sPart)
    role = part.roles.get(node.name)
    if role is None:
        return Baked()
    pieces = [
        _scripts(plan, node, role),
        _enabled(plan, part.service(node.name)),
        _programs(part, materials),
        Tree({CONFIG: file(_config(plan, node, materials), 0o600)}),
        # By this the cluster knows a node again. One that starts from memory would make up a new one at every
        # boot, and a card that is written again another, and be refused.
        Tree({PASSWORD: file(f"{materials.secret(f'k3s node {node.name}')[:32]}\n".encode(), 0o600)}),
    ]
    if role == "server":
        pieces.append(_keys(materials))
    return Baked(root=merge(*pieces))


def desk_leaves(plan: Plan) -> tuple[LeafRequest, ...]:
    """Return the certificate of Kubernetes' administrator."""
    del plan
    return (_ADMIN,)


def desk(plan: Plan, given: Desk) -> Mapping[str, bytes]:
    """Return a kubeconfig with a context for every server, the first one's in use."""
    cluster, leaf = plan.profile.cluster.name, given.leaves[_ADMIN.name]
    servers = [plan.node(name) for name in plan.part(K3sPart).named("server")]
    contexts = [cluster, *(f"{cluster}-{server.name}" for server in servers[1:])]
    authority = _text(given.authorities[_AUTHORITIES["server-ca"]])
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": f"https://{four(server)}:{API_PORT}",
                    "certificate-authority-data": authority,
                },
            }
            for name, server in zip(contexts, servers, strict=True)
        ],
        "users": [
            {
                "name": f"{cluster}-admin",
                "user": {
                    "client-certificate-data": _text(leaf.certificate),
                    "client-key-data": _text(leaf.key),
                },
            }
        ],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": f"{cluster}-admin"}} for name in contexts
        ],
        "current-context": cluster,
    }
    return {"kubeconfig": json.dumps(document, indent=2).encode() + b"\n"}


COMPONENT = Component(
    part=K3sPart,
    decide=decide,
    bake=bake,
    wants=wants,
    authorities=authorities,
    leaves=leaves,
    trusting=trusting,
    company=company,
    desk_leaves=desk_leaves,
    desk=desk,
)


def _part(plan: Plan, k3s: K3s) -> K3sPart:
    data, domain = plan.profile.machine.data, plan.profile.cluster.domain
    roles: dict[str, Role] = dict.fromkeys(k3s.servers, "server")
    roles |= {name: "agent" for name in k3s.agents if name not in roles}
    return K3sPart(
        version=k3s.version.removeprefix("v"),
        roles=roles,
        names=("k3s", f"k3s.{domain}") if domain else ("k3s",),
        data_dir=k3s.data_dir or (f"{data.mountpoint}/k3s" if data else "/var/lib/rancher/k3s"),
        data_mount=data.mountpoint if data else "",
        airgap=k3s.airgap,
        in_memory=plan.init == "openrc" and "apkovl" in plan.profile.outputs,
        settings=dict(k3s.settings),
    )


def _needs(plan: Plan, k3s: K3s, part: K3sPart) -> Needs:
    known = {node.name: node for node in plan.nodes}
    servers = tuple(name for name in part.named("server") if name in known)
    everywhere = tuple(name for name in part.roles if name in known)
    port = _FLANNEL.get(k3s.flannel_backend)
    openings = [
        Opening(port=API_PORT, callers="clients", nodes=servers, name="Kubernetes' API"),
        Opening(port=_KUBELET, callers="nodes", nodes=everywhere, name="kubelet"),
    ]
    if port:
        wrapped = Opening(port=port, protocol="udp", callers="nodes", nodes=everywhere, name="k3s's flannel")
        openings.append(wrapped)
    addresses = tuple(ip for name in servers for ip in known[name].ips if "." in ip)
    return Needs(
        modules=_MODULES,
        sysctl=_SYSCTL,
        openings=tuple(openings),
        trusted=(str(k3s.cluster_cidr), str(k3s.service_cidr)),
        names=dict.fromkeys(part.names, addresses),
        users={_USER: _KEYS},
    )


def _scripts(plan: Plan, node: NodePlan, role: Role) -> Tree:
    """Return scripts and settings, the service under the name that k3s's installer gives it."""
    tree = render("k3s", ["any", plan.init], _values(plan, node, role))
    service = plan.part(K3sPart).service(node.name)
    names = {"etc/init.d/k3s": service, "etc/systemd/system/k3s.service": f"{service}.service"}
    entries = {
        str(PurePosixPath(path).with_name(names[path])) if path in names else path: entry
        for path, entry in tree.items()
    }
    return Tree(entries)


def _values(plan: Plan, node: NodePlan, role: Role) -> dict[str, object]:
    part, etcd = plan.part(K3sPart), plan.part(EtcdPart)
    return {
        "role": role,
        "after_etcd": role == "server" and node.role == "member",
        "data_dir": part.data_dir,
        "data_mount": part.data_mount,
        "mount_unit": unit_name(part.data_mount) if part.data_mount else "",
        "tls": TLS,
        "etcdctl": f"{etcd.bin_dir}/etcdctl",
        "endpoints": etcd.endpoints,
        "ca": etcd.ca,
        "cert": CERT,
        "key": KEY,
        "images": f"{_SHARE}/{_IMAGES}" if part.airgap else "",
        "kept": _KEPT if part.in_memory else (),
        "modules": _MODULES,
    }


def _enabled(plan: Plan, name: str) -> Tree:
    if plan.init == "openrc":
        return Tree({f"etc/runlevels/default/{name}": link(f"/etc/init.d/{name}")})
    wanted = f"etc/systemd/system/multi-user.target.wants/{name}.service"
    return Tree({wanted: link(f"/etc/systemd/system/{name}.service")})


def _config(plan: Plan, node: NodePlan, materials: Materials) -> bytes:
    k3s = plan.profile.k3s
    assert k3s is not None  # noqa: S101 - there is a part
    token = checks.token_of(plan, k3s) or materials.secret(TOKEN)
    authority = materials.authorities[_AUTHORITIES["server-ca"]].certificate
    return config_yaml(plan, node, token=token, authority=authority)


def _keys(materials: Materials) -> Tree:
    leaf = materials.leaves[LEAF]
    entries: dict[str, Entry] = {CERT: file(leaf.certificate), KEY: file(leaf.key, 0o600)}
    for place, name in _AUTHORITIES.items():
        entries[f"{TLS}/{place}.crt"] = file(materials.authorities[name].certificate)
        entries[f"{TLS}/{place}.key"] = file(materials.authorities[name].key, 0o600)
    entries[f"{TLS}/service.key"] = file(materials.authorities[_SERVICE_ACCOUNTS].key, 0o600)
    return Tree(entries)


def _programs(part: K3sPart, materials: Materials) -> Tree:
    entries = {f"{_BIN}/{name}": link("k3s") for name in ("kubectl", "crictl", "ctr")}
    entries[f"{_BIN}/k3s"] = file(materials.fetched["k3s"].files["k3s"], 0o755, shared=True)
    if part.airgap:
        images = materials.fetched["k3s-images"].files[_IMAGES]
        entries[f"{_SHARE}/{_IMAGES}"] = file(images, shared=True)
    return Tree(entries)


def _text(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
