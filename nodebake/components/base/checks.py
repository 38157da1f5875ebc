"""What the operating system would trip over: found before anything is written."""

from __future__ import annotations

import re
import zoneinfo
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.components.base.part import BasePart
    from nodebake.errors import Problem
    from nodebake.plan import Plan
    from nodebake.profile.load import Loaded

# Key types of OpenSSH's sshd(8), "AUTHORIZED_KEYS FILE FORMAT"; options before the type are left to sshd.
_SSH_KEY = re.compile(
    r"^([^\n]* )?(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-\S+) AAAA\S+( [^\n]*)?$"
)
_SYSTEM_ACCOUNTS = ("daemon", "bin", "sys", "nobody", "sshd", "chrony")  # and root, etcd: nodebake.plan
# On the rpi medium of every Alpine release: aports scripts/mkimg.base.sh.
_ON_MEDIUM = frozenset(
    [
        "alpine-base",
        "busybox",
        "chrony",
        "dhcpcd",
        "doas",
        "e2fsprogs",
        "kbd-bkeymaps",
        "network-extras",
        "openntpd",
        "openssl",
        "openssh",
        "tzdata",
        "wget",
        "tiny-cloud-nocloud",
    ]
)


def problems(loaded: Loaded, plan: Plan) -> Iterator[Problem]:
    """Yield everything in the profile that the operating system cannot do, each at its line."""
    yield from _keys(loaded)
    yield from _users(loaded)
    yield from _overlays(loaded)
    yield from _packages(loaded, plan)
    yield from _data(loaded, plan)
    yield from _zone(loaded)


def warnings(plan: Plan, part: BasePart) -> Iterator[str]:
    """Yield what works, but not as well as the user may think."""
    access, data = plan.profile.access, plan.profile.machine.data
    if not access.ssh_authorized_keys and not any(user.ssh_authorized_keys for user in access.users):
        yield "access has no SSH keys: nobody can log in over the network"
    zone = plan.profile.system.timezone
    if zone != "UTC" and not _zones():
        yield f"this machine has no time zones (tzdata) to look {zone} up in"
    if plan.init != "openrc":
        return
    missing = [name for name in part.packages if name not in _ON_MEDIUM]
    if missing:
        yield (
            f"{', '.join(missing)}: not on Alpine's release medium, and the first boot has no network "
            "for apk; put a repository with it on the card"
        )
    if data is not None and data.filesystem not in {"ext4", "f2fs"}:
        yield f"{data.filesystem} is a module of Alpine's kernel for the Pi; ext4 is built in"


def _keys(loaded: Loaded) -> Iterator[Problem]:
    access = loaded.profile.access
    lists = {"access.ssh_authorized_keys": access.ssh_authorized_keys} | {
        f"access.users[{index}].ssh_authorized_keys": user.ssh_authorized_keys
        for index, user in enumerate(access.users)
    }
    for path, keys in lists.items():
        for index, key in enumerate(keys):
            if not _SSH_KEY.match(key.strip()):
                yield loaded.problem(
                    f"{path}[{index}]",
                    "is no SSH public key",
                    "paste one line of an id_*.pub file, such as ssh-ed25519 AAAA... me@desk",
                )


def _users(loaded: Loaded) -> Iterator[Problem]:
    for index, user in enumerate(loaded.profile.access.users):
        if user.name in _SYSTEM_ACCOUNTS:
            yield loaded.problem(
                f"access.users[{index}].name", f"{user.name} is an account of the system", "take another name"
            )


def _overlays(loaded: Loaded) -> Iterator[Problem]:
    for index, overlay in enumerate(loaded.profile.overlays):
        if not (loaded.directory / overlay.path).is_dir():
            yield loaded.problem(
                f"overlays[{index}].path",
                f"{overlay.path} is not a directory beside the profile",
                "make it or correct the path",
            )


def _packages(loaded: Loaded, plan: Plan) -> Iterator[Problem]:
    if plan.init == "systemd" and loaded.profile.system.packages:
        yield loaded.problem(
            "system.packages",
            "packages can only come from Alpine's boot medium",
            "remove them; install them in the image that Debian boots from",
        )


def _data(loaded: Loaded, plan: Plan) -> Iterator[Problem]:
    data = plan.profile.machine.data
    if data is not None and plan.init == "openrc" and data.device.startswith(("PARTLABEL=", "PARTUUID=")):
        yield loaded.problem(
            "machine.data.device",
            f"{data.device} is a name that Alpine's mount and findfs (busybox) do not know",
            "write LABEL=, UUID= or a path under /dev",
        )
    if data is not None and data.place == "boot-disk":
        if not data.device.startswith("LABEL="):
            yield loaded.problem(
                "machine.data.device",
                f"a partition that the node makes itself has a label, and {data.device} is none",
                "write LABEL=DATA, or place: own-disk",
            )
        if data.filesystem != "ext4":
            yield loaded.problem(
                "machine.data.filesystem",
                f"a node can only make ext4 itself, not {data.filesystem}",
                "write ext4, or place: own-disk and prepare it",
            )


def _zone(loaded: Loaded) -> Iterator[Problem]:
    zone = loaded.profile.system.timezone
    known = {zone} if zone == "UTC" else _zones()
    if known and zone not in known:
        close = get_close_matches(zone, sorted(known), n=1)
        todo = f"did you mean {close[0]}?" if close else "write one such as Europe/Berlin"
        yield loaded.problem("system.timezone", f"there is no time zone {zone}", todo)


def _zones() -> frozenset[str]:
    """Return the names in this machine's tz database, which may be empty; the nodes have their own."""
    return frozenset(zoneinfo.available_timezones()) - {"localtime"}  # a link of Debian's to /etc/localtime
