"""What each component has to show on machines that run; one module each, and the scenarios know no names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.command import find
from nodebake.components.flannel import FlannelPart
from nodebake.components.k3s import K3sPart
from nodebake.lab.components import flannel, k3s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nodebake.lab.rack import Rack
    from nodebake.plan import Plan

_CHECKS: Mapping[type, Callable[[Rack], None]] = {FlannelPart: flannel.check, K3sPart: k3s.check}
_TOOLS: Mapping[type, Mapping[str, str]] = {FlannelPart: {"ping": "iputils-ping"}}


def find_tools(plan: Plan) -> None:
    """See to it that this machine has what the checks need.

    Raises:
        InputError: a tool is missing.
    """
    for part, tools in _TOOLS.items():
        for tool, package in tools.items() if plan.has(part) else ():
            find(tool, package=package)


def check(rack: Rack) -> None:
    """Judge what the plan has besides etcd, on a cluster that is healthy and has all its machines.

    It is asked again when machines have come back, and may compare.
    """
    for part, seen in _CHECKS.items():
        if rack.plan.has(part):
            seen(rack)
