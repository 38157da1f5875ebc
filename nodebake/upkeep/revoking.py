"""Certificates that must not open the cluster any more, and those for operators with names of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nodebake.errors import UsageError
from nodebake.pipeline import renewal, workshop
from nodebake.pki import USER, user
from nodebake.progress import Silent
from nodebake.upkeep import renewing
from nodebake.upkeep.artefacts import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nodebake.manifest import Artifact
    from nodebake.pipeline import Options
    from nodebake.plan import Plan
    from nodebake.progress import Progress
    from nodebake.upkeep.ssh import Ssh
    from nodebake.vault import LedgerRow

ROOT = "root"  # the common name of the operator's certificate that every build has
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_TAKEN = (ROOT, "admin", "ca")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What was done.

    Attributes:
        rows: the certificates revoked.
        archives: the list for every member, to be brought there by hand; empty if it was pushed.
        pushed: how many members it was pushed to.
    """

    rows: tuple[LedgerRow, ...]
    archives: Mapping[str, Artifact] = field(default_factory=dict)
    pushed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What to revoke, and what to do with the list.

    Attributes:
        cn: an operator's common name; empty for none.
        node: a node, all of whose certificates are revoked; empty for none.
        push: lays the list over the members; None leaves that to the user.
    """

    cn: str = ""
    node: str = ""
    push: Ssh | None = None


def revoke(
    plan: Plan, options: Options, wanted: Revocation, *, progress: Progress, ask: Callable[[str], str] | None
) -> Revoked:
    """Revoke certificates, and write the list for every member; members read it at every handshake.

    The operator's own and a node's are issued again, with new keys; another operator's are not. With
    nothing to revoke, the list is only brought to the members again.

    Raises:
        UsageError: there is nothing of that name, or the vault or the pass phrase cannot be used.
        InputError: a program could not be had.
        BuildError: something could not be written, or a member did not take the list.
    """
    node = workshop.nodes(plan, wanted.node)[0].name if wanted.node else ""
    supplies = workshop.supplies(plan, options, Silent())
    with workshop.opened(plan, options, ask) as vault:
        rows: tuple[LedgerRow, ...] = ()
        if wanted.cn:
            rows += vault.revoke(OPERATOR, "client" if wanted.cn == ROOT else f"{USER}{wanted.cn}")
        if node:
            rows += vault.revoke(node)
        oven = workshop.heat(plan, options, vault, supplies)
        # In this order: who gets new certificates would be locked out until then.
        members = sorted((one.name for one in plan.members), key=lambda name: name != node)
        listed = {name: renewal.Pieces(revocations=True) for name in members}
        archives = renewing.bring(oven, vault, listed, wanted.push, progress)
    return Revoked(
        rows=rows, archives={} if wanted.push else archives, pushed=len(archives) if wanted.push else 0
    )


def add_operator(plan: Plan, options: Options, common_name: str, *, ask: Callable[[str], str] | None) -> str:
    """Issue a certificate for an operator with a name of their own; return its file, relative to the build.

    Raises:
        UsageError: the name cannot be one, or the vault or the pass phrase cannot be used.
        BuildError: something could not be written.
    """
    if not _NAME.fullmatch(common_name) or common_name in _TAKEN:
        raise UsageError(
            f"{common_name!r} cannot be an operator's name",
            hint="use up to 64 letters, digits and ._@-, beginning with a letter or digit; not "
            + ", ".join(_TAKEN),
        )
    supplies = workshop.supplies(plan, options, Silent())
    with workshop.opened(plan, options, ask) as vault:
        vault.leaves([user(common_name)])
        oven = workshop.heat(plan, options, vault, supplies)
        renewing.write(oven, vault, {})
        path = f"{OPERATOR}/{common_name}.pem"
        vault.record({(OPERATOR, user(common_name).name): path})
    return path
