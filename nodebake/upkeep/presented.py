"""Which certificates the members of a running cluster really present."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.components.etcd import EtcdPart
from nodebake.errors import UsageError
from nodebake.pki import describe

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.plan import Plan

_PATIENCE = 10  # seconds for one connection; a small board may be busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """What one port of one member answered.

    Attributes:
        node: the member's name.
        name: of the leaf it should present there: `server` or `peer`, or the one they share.
        port: which port.
        serial: of the certificate it presents, hexadecimal; empty if there was no answer.
        error: why there was none.
    """

    node: str
    name: str
    port: int
    serial: str = ""
    error: str = ""


def presented(plan: Plan, desk: Path, *, member: str = "") -> tuple[Presented, ...]:
    """Return what members present to clients and to other members.

    Args:
        plan: the cluster.
        member: the only one to ask; empty for all.
        desk: the directory of the operator's files; members turn away who has no certificate.

    Raises:
        UsageError: the operator's files are not there.
    """
    operator = desk / "admin.pem"
    if not operator.exists():
        raise UsageError(
            f"the operator's certificate is not in {desk}",
            hint=f"write it: ./invoke build --profile {plan.name}",
        )
    # Whether it is the right one is decided by the ledger: one that is not must be seen as well.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(operator)
    part = plan.part(EtcdPart)
    ports = {part.client_port: part.pairs[part.server], part.peer_port: part.pairs[part.peer]}
    asked = [(node, port) for node in plan.members for port in ports if member in {"", node.name}]
    with ThreadPoolExecutor(len(ports) * len(plan.members)) as pool:
        answers = pool.map(lambda one: _ask(one[0].ip, one[1], context), asked)
        return tuple(
            Presented(node=node.name, name=ports[port], port=port, serial=serial, error=error)
            for (node, port), (serial, error) in zip(asked, answers, strict=True)
        )


def _ask(ip: str, port: int, context: ssl.SSLContext) -> tuple[str, str]:
    """Return the serial of what is presented, or why nothing is."""
    try:
        with (
            socket.create_connection((ip, port), timeout=_PATIENCE) as plain,
            context.wrap_socket(plain) as secure,
        ):
            found = secure.getpeercert(binary_form=True) or b""
    except OSError as error:  # ssl.SSLError is one
        return "", str(error)
    return describe(ssl.DER_cert_to_PEM_cert(found).encode()).serial, ""
