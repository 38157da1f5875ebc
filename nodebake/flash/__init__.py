"""Writing a node's image to a card: refused where it could hurt, read back, and recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.errors import SafetyError, UsageError
from nodebake.flash.device import every, look
from nodebake.flash.filing import copy_files
from nodebake.flash.mapping import pieces
from nodebake.flash.options import Options, Permission
from nodebake.flash.owner import described, titled, whose
from nodebake.flash.refusing import check, check_owner
from nodebake.flash.writing import CardError, Job, compare, probe, reread, spoil, write
from nodebake.vault import Card, cards, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from nodebake.flash.device import Device
    from nodebake.manifest import Artifact
    from nodebake.plan import NodePlan, Plan

__all__ = ["Options", "Permission", "Wanted", "copy_files", "flash", "flash_all", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user asked for; empty for what was not said.

    Attributes:
        node: whose card.
        every: all nodes' cards, one after another.
        device: where the card is.
        files: where a card is mounted that gets files only.
    """

    node: str = ""
    every: bool = False
    device: str = ""
    files: str = ""


def run(plan: Plan, wanted: Wanted, options: Options) -> None:
    """Do what was asked for.

    Raises:
        UsageError: that makes no sense, or nothing was built.
        SafetyError: it would be the wrong device, card or image.
        BuildError: the card failed, or was taken out.
    """
    if wanted.every:
        if wanted.node or wanted.files:
            raise UsageError(
                "--all is every node's whole card", hint="leave out --node and --files, or --all"
            )
        flash_all(plan, wanted.device, options)
    elif bool(wanted.device) == bool(wanted.files):
        raise UsageError("no card is named, or two", hint=f"add one of --device, --files\n{_listed(options)}")
    elif wanted.files:
        copy_files(plan, _node(plan, wanted.node), Path(wanted.files), options)
    else:
        flash(plan, _node(plan, wanted.node), Path(wanted.device), options)


def flash(plan: Plan, node: NodePlan, device: Path, options: Options) -> None:
    """Write the node's image to the card in `device`, read it back, and record it.

    Raises:
        UsageError: there is no image, or the device may not be opened.
        SafetyError: it would be the wrong device, card or image.
        CardError: the card failed, or was taken out.
    """
    artifact = options.artifact(node, f"{node.name}.img")
    found = look(device, options.sysroot)
    _check(found, artifact, options)
    owner = whose(found, plan)
    check_owner(owner, node.name, allowed=options.allowed)
    image = options.verified(artifact)
    job = Job(image=image, pieces=pieces(image), device=Path(found.path), size=found.size)
    text = f"{described(found, owner)}\nall of it is lost when {node.name} is written to it"
    options.confirmed(text, word=found.name)
    now = look(device, options.sysroot)
    if now.card != found.card:
        what = f"{found.path} is another device or card than a moment ago: nothing was written"
        raise SafetyError(what, hint="look at it with lsblk, and flash again")
    _check(now, artifact, options)  # a desktop may have mounted it meanwhile
    _write(job, _card(found, node, artifact.sha256), options)
    options.progress.note(f"{found.path} is {node.name}'s card: written, and read back as it was written")


def _check(device: Device, image: Artifact, options: Options) -> None:
    written = cards(options.vault)
    check(device, needed=image.size, checkout=options.checkout, written=written, allowed=options.allowed)
    probe(Path(device.path))


def flash_all(plan: Plan, device: str, options: Options) -> None:
    """Ask for one card after another, and write every node's; a card that is no good is asked for again.

    Args:
        plan: the cluster.
        device: where the cards are put in; empty to choose each time.
        options: as for `flash`.

    Raises:
        UsageError: nobody can be asked, or there are no images.
    """
    if options.ask is None:
        hint = "without one, write one node after another: --node N --device DEV --yes"
        raise UsageError("--all asks for cards, and needs a terminal for that", hint=hint)
    for node in plan.nodes:
        options.artifact(node, f"{node.name}.img")
    for number, node in enumerate(plan.nodes, 1):
        text = f"{node.name}, {number} of {len(plan.nodes)}: put its card in"
        while not _one(plan, node, _chosen(text, device, options.ask, options), options):
            continue


def _one(plan: Plan, node: NodePlan, device: str, options: Options) -> bool:
    try:
        flash(plan, node, Path("/dev") / device, options)
    except (SafetyError, CardError) as error:
        options.progress.note(str(error))
        return False
    return True


def _chosen(text: str, device: str, ask: Callable[[str], str], options: Options) -> str:
    """Ask for a card and return its device's name or path."""
    if device:
        ask(f"{text} ({device}) and press Enter: ")
        return device
    while True:
        ask(f"{text} and press Enter: ")
        found = _cards(options)
        if len(found) == 1:
            return found[0].path
        typed = ask(f"{_listed(options)}\nwhich one (empty to look again): ").strip()
        if typed:
            return typed


def _cards(options: Options) -> list[Device]:
    return [one for one in every(options.sysroot) if one.removable and one.size and one.kind == "disk"]


def _listed(options: Options) -> str:
    return "\n".join(f"  {titled(one)}" for one in _cards(options)) or "  there is no card in any reader"


def _node(plan: Plan, name: str) -> NodePlan:
    for node in plan.nodes:
        if node.name == name:
            return node
    names = ", ".join(node.name for node in plan.nodes)
    raise UsageError(
        f"{plan.name} has no node {name}" if name else "no node is named", hint=f"its nodes are {names}"
    )


def _card(device: Device, node: NodePlan, image: str) -> Card:
    return Card(
        serial=device.known_as,
        own=device.own_serial,
        model=device.model,
        size=device.size,
        node=node.name,
        image=image,
    )


def _write(job: Job, card: Card, options: Options) -> None:
    try:
        compare(job, write(job, options.progress), options.progress)
    except CardError as error:
        if error.bad:
            spoil(job)
            record(options.vault, replace(card, failed=error.what))
        raise
    reread(job)
    if not record(options.vault, card):
        options.progress.note(f"not recorded: there is no vault in {options.vault}")
