"""Why a device must not be written to: every reason, each with what to do about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.errors import BuildError, Problem, SafetyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nodebake.flash.device import Device
    from nodebake.flash.options import Permission
    from nodebake.flash.owner import Owner
    from nodebake.vault import Card

LARGEST = 256 * 10**9
"""Bytes; cards are sold up to this size, and what is larger may be somebody's disk."""


def check(
    device: Device, *, needed: int, checkout: Path, written: Iterable[Card], allowed: Permission
) -> None:
    """See that `device` can be written to at all; nothing on it is read.

    Args:
        device: where to.
        needed: bytes of the image.
        checkout: a directory whose disk is not to be touched.
        written: the cards that were written before.
        allowed: what the user said.

    Raises:
        SafetyError: with every reason not to.
    """
    problems = [*_kind(device), *_use(device, checkout), *_size(device, needed)]
    if allowed.known != device.known_as:
        problems += [*_looks(device), *_failed(device, written)]
    refuse(problems)


def check_owner(owner: Owner, node: str, *, allowed: Permission) -> None:
    """See that what is on the device is not another node's.

    Raises:
        SafetyError: it is.
    """
    others = [name for name in owner.nodes if name != node]
    if others and not allowed.replace:
        whose = " and ".join(others)
        refuse(
            [
                Problem(
                    path=owner.device,
                    what=f"this is the card of {whose}, not of {node}",
                    todo=f"put in another one, or add --replace: what {whose} has on it is lost",
                )
            ]
        )


def refuse(problems: list[Problem]) -> None:
    """Raise a SafetyError with all `problems`, if there are any."""
    if problems:
        raise SafetyError("\n".join(map(str, problems)))


def _kind(device: Device) -> Iterator[Problem]:
    if device.kind == "part":
        todo = f"name the disk: --device {device.disk}"
        yield Problem(path=device.path, what="is a partition, and an image is a whole disk", todo=todo)
    elif device.kind not in {"disk", "loop"}:
        yield Problem(path=device.path, what=f"is not a disk but {device.kind}", todo="name a card's device")
    if device.read_only:
        todo = "move the switch on the card's side, or take another card"
        yield Problem(path=device.path, what="is write-protected", todo=todo)


def _use(device: Device, checkout: Path) -> Iterator[Problem]:
    ours = {_mountpoint(checkout): f"the checkout {checkout}", "/": "the root of this machine"}
    for place in device.mounts:
        if place in ours:
            yield Problem(path=device.path, what=f"holds {ours[place]}", todo="name another device")
        elif place == "[SWAP]":
            yield Problem(path=device.path, what="is used as swap", todo="name another device, or swapoff it")
        else:
            yield Problem(path=device.path, what=f"is mounted on {place}", todo=f"umount {place}")
    for user in device.users:
        yield Problem(
            path=device.path, what=f"is in use by {user}", todo="name another device, or take that apart"
        )


def _size(device: Device, needed: int) -> Iterator[Problem]:
    if device.size < needed:
        what = f"has {device.size} bytes, and the image has {needed}"
        yield Problem(path=device.path, what=what, todo="take a larger card")


def _looks(device: Device) -> Iterator[Problem]:
    """Yield why this does not look like a card."""
    todo = f"if it is the right one all the same, add --i-know {device.known_as}"
    if not device.removable:
        yield Problem(
            path=device.path, what="is not removable, so it may be a disk of this machine", todo=todo
        )
    if device.size > LARGEST:
        what = f"has {device.size // 10**9} GB, more than cards have"
        yield Problem(path=device.path, what=what, todo=todo)


def _failed(device: Device, written: Iterable[Card]) -> Iterator[Problem]:
    """Yield how this very card failed before; a reader's serial number says nothing about a card."""
    last = next((card for card in reversed([*written]) if card.own and card.serial == device.known_as), None)
    if last and device.own_serial and last.failed:
        todo = f"take another card; to try it again, add --i-know {device.known_as}"
        yield Problem(path=device.path, what=f"this card failed before: {last.failed}", todo=todo)


def _mountpoint(path: Path) -> str:
    findmnt = find("findmnt", package="util-linux")
    try:
        told = run([findmnt, "--json", "--output", "TARGET", "--target", path])
        return str(json.loads(told)["filesystems"][0]["target"])
    except BuildError:  # a path of another system
        return ""
