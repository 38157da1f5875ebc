"""What the operator of a cluster with k3s has before its first boot, and what a whole build is made of."""

from __future__ import annotations

import base64
import json
import re
import ssl
import stat
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from nodebake import upkeep
from nodebake.command import run
from nodebake.components import k3s
from nodebake.components.contract import Desk
from nodebake.errors import InputError
from nodebake.pipeline import build, resolve
from nodebake.pki import Authority, LeafRequest
from nodebake.progress import Silent
from tests.components import K3S, NOW, TERMS, authorities, baked, plan_of
from tests.need import need
from tests.unit import inputs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nodebake.pipeline import Options
    from nodebake.plan import Plan

TLS = "etc/rancher/k3s/tls"
RELEASE = "1.31.4+k3s1"
FILES = {"k3s": "k3s", "k3s-images": "k3s-airgap-images.tar.zst"}


def _desk(plan: Plan) -> tuple[Desk, dict[str, Authority]]:
    """Return what the operator is given, and the authorities themselves."""
    pairs = authorities(plan)
    own = {name: Authority.load(pair.certificate, pair.key, now=NOW) for name, pair in pairs.items()}
    leaves = {}
    for request in k3s.desk_leaves(plan):
        assert request.authority
        leaves[request.name] = own[request.authority.name].issue(request, TERMS, now=NOW)
    certificates = {name: pair.certificate for name, pair in pairs.items()}
    return Desk(leaves=leaves, trust=b"", authorities=certificates, host_keys={}), own


@contextmanager
def _api(directory: Path, own: dict[str, Authority]) -> Iterator[tuple[int, list[Any]]]:
    """Stand in for a server's API: certified by the vault's one authority, for clients of the other."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert isinstance(self.connection, ssl.SSLSocket)
            seen.append((self.connection.getpeercert() or {}).get("subject"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    request = LeafRequest(holder="m1", name="api", common_name="m1", ips=("127.0.0.1",), usages=("server",))
    leaf = own["k3s-server"].issue(request, TERMS, now=NOW)
    (directory / "api.pem").write_bytes(leaf.certificate + leaf.key)
    (directory / "clients.crt").write_bytes(own["k3s-client"].certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "clients.crt"))
    context.load_cert_chain(directory / "api.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, seen
        server.shutdown()


def test_kubeconfig_is_known_before_the_first_boot(tmp_path: Path) -> None:
    """Kubectl reads it, trusts a server of the vault's authority, and is an administrator to it."""
    kubectl = need("kubectl", package="kubernetes-client")
    plan = plan_of(tmp_path, k3s=K3S)
    given, own = _desk(plan)
    path = tmp_path / "kubeconfig"
    path.write_bytes(k3s.desk(plan, given)["kubeconfig"])
    read = json.loads(run([kubectl, "--kubeconfig", path, "config", "view", "--raw", "-o", "json"]))
    servers = {one["name"]: one["cluster"] for one in read["clusters"]}
    assert {"edge": "https://192.168.7.11:6443", "edge-m2": "https://192.168.7.12:6443"} == {
        name: one["server"] for name, one in servers.items()
    }
    baked_in = baked(plan)[f"{TLS}/server-ca.crt"].content
    assert baked_in == base64.b64decode(servers["edge"]["certificate-authority-data"])
    assert ("edge", ["edge", "edge-m2"]) == (
        read["current-context"],
        [one["name"] for one in read["contexts"]],
    )
    with _api(tmp_path, own) as (port, seen):
        ask: list[str | Path] = [
            kubectl,
            "--kubeconfig",
            path,
            "--server",
            f"https://127.0.0.1:{port}",
            "get",
            "--raw",
            "/readyz",
        ]
        assert b"ok" == run(ask, timeout=60)
    assert {((("organizationName", "system:masters"),), (("commonName", "system:admin"),))} == set(seen)


def test_authorities_are_of_kinds_that_k3s_takes(tmp_path: Path) -> None:
    """Each its own, none of them etcd's; service accounts are signed with RSA."""
    openssl = need("openssl", package="openssl")
    tree = baked(plan_of(tmp_path, k3s=K3S))
    names = ("server-ca", "client-ca", "request-header-ca", "etcd/peer-ca", "etcd/server-ca")
    subjects = set()
    for name in names:
        certificate = tree[f"{TLS}/{name}.crt"].content
        subjects.add(run([openssl, "x509", "-noout", "-subject"], stdin=certificate))
        assert run([openssl, "x509", "-noout", "-pubkey"], stdin=certificate) == run(
            [openssl, "pkey", "-pubout"], stdin=tree[f"{TLS}/{name}.key"].content
        )
        assert certificate != tree["etc/etcd/pki/ca.crt"].content
    assert len(subjects) == len(names)
    told = run([openssl, "pkey", "-noout", "-text"], stdin=tree[f"{TLS}/service.key"].content)
    assert b"Private-Key: (2048 bit, 2 primes)" in told


def _profile(directory: Path) -> str:
    """Write a profile of Alpine with k3s for this machine, small enough for what these tests have."""
    path = inputs.profile(directory, "alpine", "[apkovl]")
    with open(path, "a") as profile:  # noqa: PTH123 - a name
        profile.write("k3s: {version: v1.31.4+k3s1, servers: [x-1], agents: [x-2, x-3]}\n")
    return path


def _content(name: str) -> bytes:
    return inputs.busybox() if name == "k3s" else b"images"


def _pinned(directory: Path) -> Options:
    """Return the options of a build whose lock file pins k3s and its images; the mirror has neither."""
    told = inputs.options(directory)
    for name, file in FILES.items():
        inputs.pin_file(told.lock, name, RELEASE, _content(name), file=file)
    return told


def test_programs_that_cannot_be_had_are_told_as_any_input_is(tmp_path: Path) -> None:
    """All of them, with every reason, and where to put them under which names; nothing is written."""
    with pytest.raises(InputError) as error:
        build(resolve(_profile(tmp_path)), options=_pinned(tmp_path), progress=Silent(), ask=None)
    for name in FILES:
        why, todo = (
            rf"{name} 1\.31\.4\+k3s1 for {inputs.HOST} could not be had",
            f"{name}-{RELEASE}-{name}-host",
        )
        assert re.search(rf"{why}(.|\n)*{re.escape(todo)}", str(error.value))
    assert not (tmp_path / "out" / "x-1").exists()


def test_a_whole_build_has_card_and_kubeconfig(tmp_path: Path) -> None:
    """Program and images are beside the overlay, once for all nodes; the operator's files are complete."""
    options = _pinned(tmp_path)
    for name in FILES:
        (tmp_path / f"{name}-{RELEASE}-{name}-host").write_bytes(_content(name))
    plan = resolve(_profile(tmp_path))
    build(plan, options=options, progress=Silent(), ask=None)
    out = tmp_path / "out"
    one, three, none = (out / node / "boot/nodebake/usr/local" for node in ("x-1", "x-3", "y-1"))
    assert inputs.busybox() == (one / "bin/k3s").read_bytes()
    for place in ("bin/k3s", f"share/nodebake/{FILES['k3s-images']}"):
        assert (True, False) == ((one / place).samefile(three / place), (none / place).exists())
        assert f'"file:/usr/local/{place}"' in (out / "x-1/x-1.cdx.json").read_text()
    read = yaml.safe_load((out / "operator/kubeconfig").read_text())
    assert "https://192.168.7.11:6443" == read["clusters"][0]["cluster"]["server"]
    assert 0o600 == stat.S_IMODE((out / "operator/kubeconfig").stat().st_mode)
    listed = run(["tar", "-tzf", out / "x-1/x-1.apkovl.tar.gz"]).decode().split()
    assert {"etc/rancher/k3s/config.yaml", "etc/init.d/k3s", "usr/local/bin/kubectl"} <= set(listed)
    rows, wrong = upkeep.certificates(plan, options, live=False)
    expected = {("x-1", "k3s"), ("operator", "kubernetes")}
    assert (expected, ()) == (expected & {(row.holder, row.name) for row in rows}, wrong)
    assert {()} == {row.complaints for row in rows}
    first = (out / "operator/kubeconfig").read_bytes()
    build(plan, options=options, progress=Silent(), ask=None)
    assert first == (out / "operator/kubeconfig").read_bytes()
