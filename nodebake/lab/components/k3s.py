"""k3s: every server is ready for whom the kubeconfig names, and for nobody else; every node has joined."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from nodebake.components.k3s import K3sPart

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.lab.rack import Rack

_UNAUTHORIZED = "401"


def check(rack: Rack) -> None:
    """Ask the API of every server, with and without the administrator's certificate."""
    document = json.loads((rack.judge.operator / "kubeconfig").read_text(encoding="utf-8"))
    user, clusters = document["users"][0]["user"], [one["cluster"] for one in document["clusters"]]
    work = rack.judge.stranger.parent
    own = _decoded(user, work, "client-certificate-data", "client-key-data")
    authority = _decoded(clusters[0], work, "certificate-authority-data")
    part = rack.plan.part(K3sPart)
    for name, cluster in zip(part.named("server"), clusters, strict=True):
        url = f"{cluster['server']}/readyz"
        rack.wait(
            f"k3s on {name} is ready, says its API",
            lambda asked=url: rack.judge.ask(asked, authority=authority, identity=own) == "ok 200",  # type: ignore[misc]
        )
        told = rack.judge.ask(url, authority=authority)
        rack.check(f"k3s on {name} turns away who shows no certificate", told.endswith(_UNAUTHORIZED), told)
    nodes = f"{clusters[0]['server']}/api/v1/nodes"
    rack.wait(
        "every node of k3s has joined, says its API",
        lambda: set(part.roles) <= _names(rack.judge.ask(nodes, authority=authority, identity=own)),
    )
    for name in rack.machines:
        if name in part.roles:
            rack.never_gave_up(part.service(name), name)


def _names(told: str) -> set[str]:
    """Return the nodes' names in Kubernetes' NodeList, a status behind it; none in anything else."""
    try:
        return {node["metadata"]["name"] for node in json.loads(told.rpartition(" ")[0])["items"]}
    except (ValueError, LookupError, TypeError):
        return set()


def _decoded(values: dict[str, Any], work: Path, *keys: str) -> Path:
    """Write what a kubeconfig has in base64 to one file for curl."""
    path = work / f"kubeconfig.{keys[0]}"
    path.write_bytes(b"".join(base64.b64decode(values[key]) for key in keys))
    return path
