"""Whether a running member lets somebody in who has a certificate of a certain authority."""

from __future__ import annotations

import socket
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nodebake.components.etcd import EtcdPart

if TYPE_CHECKING:
    from nodebake.pki import Leaf
    from nodebake.plan import NodePlan, Plan

Answer = Literal["in", "out", "silent"]
_PATIENCE = 10  # seconds for one connection; a small board may be busy
_QUESTION = b"GET /version HTTP/1.0\r\nHost: etcd\r\n\r\n"


def admission(plan: Plan, node: NodePlan, leaf: Leaf) -> frozenset[Answer]:
    """Return what a member's ports for clients and for members answer to whoever has `leaf`.

    With TLS 1.3 a client's certificate is judged after the handshake (RFC 8446, 4.6.2), so a question is
    asked as well.
    """
    part = plan.part(EtcdPart)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as directory:  # OpenSSL takes certificates from files only
        path = Path(directory) / "probe.pem"
        path.touch(mode=0o600)
        path.write_bytes(leaf.certificate + leaf.key)
        context.load_cert_chain(path)
    return frozenset(_ask(node.ip, port, context) for port in (part.client_port, part.peer_port))


def _ask(ip: str, port: int, context: ssl.SSLContext) -> Answer:
    try:
        plain = socket.create_connection((ip, port), timeout=_PATIENCE)
    except OSError:
        return "silent"
    try:
        with plain, context.wrap_socket(plain) as secure:
            secure.sendall(_QUESTION)
            return "in" if secure.recv(1) else "out"
    except TimeoutError:
        return "silent"
    except OSError:  # ssl.SSLError is one: an alert, or the connection is cut
        return "out"
