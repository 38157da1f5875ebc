"""A cluster's life after day one: its certificates and its members, while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake.upkeep.artefacts import OPERATOR, serials_in
from nodebake.upkeep.backing import Backup, backup, restore
from nodebake.upkeep.consequences import Consequence, compare
from nodebake.upkeep.members import Adjusted, Adjustment, adjust
from nodebake.upkeep.membership import Step
from nodebake.upkeep.presented import presented
from nodebake.upkeep.renewing import Renewal, Renewed, renew
from nodebake.upkeep.replacing import Replaced, Replacement, exchange
from nodebake.upkeep.revoking import Revocation, Revoked, add_operator, revoke
from nodebake.upkeep.rotating import Rotated, Wanted, rotate
from nodebake.upkeep.ssh import APPLY, Ssh
from nodebake.upkeep.standing import Standing, check, standings, strangers
from nodebake.upkeep.upgrading import Upgraded, upgrade
from nodebake.vault import look

if TYPE_CHECKING:
    from nodebake.pipeline import Options
    from nodebake.plan import Plan

__all__ = [
    "APPLY",
    "Adjusted",
    "Adjustment",
    "Backup",
    "Consequence",
    "Renewal",
    "Renewed",
    "Replaced",
    "Replacement",
    "Revocation",
    "Revoked",
    "Rotated",
    "Ssh",
    "Standing",
    "Step",
    "Upgraded",
    "Wanted",
    "add_operator",
    "adjust",
    "backup",
    "certificates",
    "check",
    "compare",
    "exchange",
    "renew",
    "restore",
    "revoke",
    "rotate",
    "upgrade",
]


def certificates(plan: Plan, options: Options, *, live: bool) -> tuple[tuple[Standing, ...], tuple[str, ...]]:
    """Return how every certificate of a cluster stands, worst first, and what else is wrong.

    Args:
        plan: the cluster.
        options: where its vault and its artefacts are.
        live: ask the running members, too.

    Raises:
        UsageError: there is no vault, or no operator's certificate to ask with.
        BuildError: an artefact cannot be read.
    """
    seen = presented(plan, options.out / OPERATOR) if live else ()
    told = look(options.vault, cluster=plan.profile.cluster.name, epoch=options.epoch)
    rows = standings(plan, told, built=serials_in(options.out), seen=seen)
    return rows, tuple(strangers(told, seen))
