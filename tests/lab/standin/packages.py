"""The packages on a stand-in release's medium."""

from __future__ import annotations

import stat
import tarfile
import tempfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.command import find, run
from nodebake.sources.elf import LOADERS, inspect
from nodebake.tree import Entry, Tree, directory, file, link, merge
from tests.lab.standin.apk import Package

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.lab.standin.parts import Parts

OURS = Path(__file__).parent / "packages"
# Where Debian's programs find their loader and libraries: nowhere near those that an overlay may bring.
_LIBRARIES = "usr/lib/standin"
_OPENRC_PROGRAMS = {
    **{f"usr/sbin/{name}": f"sbin/{name}" for name in ("openrc", "openrc-run", "rc-service", "rc-update")},
    "usr/sbin/supervise-daemon": "sbin/supervise-daemon",
    "usr/bin/rc-status": "bin/rc-status",
}
_E2FSPROGS = ("e2fsck", "mke2fs", "tune2fs")
_IPTABLES = (
    "iptables",
    "iptables-restore",
    "iptables-save",
    "ip6tables",
    "ip6tables-restore",
    "ip6tables-save",
)
_PAM = b"account required pam_permit.so\nsession required pam_permit.so\nauth required pam_permit.so\n"
_PERMIT = "security/pam_permit.so"


def packages(parts: Parts) -> list[Package]:
    """Return everything that is on the medium.

    Raises:
        InputError: patchelf is missing.
    """
    openrc, e2fsprogs, iptables = _openrc(parts), _e2fsprogs(parts), _iptables(parts)
    programs = [content for tree in (openrc, e2fsprogs, iptables) for content in _programs(tree).values()]
    libraries = _libraries(parts, programs)
    filters = merge(_at_home(iptables, parts), _extensions(parts))
    return [
        *_installed(parts),
        _made(parts, "standin-libs", libraries, "Debian's C library for Debian's programs"),
        _made(parts, "openrc", _at_home(openrc, parts), "Debian's OpenRC", "standin-libs /bin/sh"),
        _made(parts, "e2fsprogs", _at_home(e2fsprogs, parts), "Debian's e2fsprogs", "standin-libs"),
        _made(parts, "iptables", filters, "Debian's iptables", "standin-libs"),
        _made(parts, "busybox-openrc", _own("busybox-openrc"), "services of busybox", "openrc"),
        _made(parts, "busybox-mdev-openrc", _own("busybox-mdev-openrc"), "device nodes", "openrc"),
        _alpine_base(parts),
    ]


def _installed(parts: Parts) -> Iterable[Package]:
    """Yield the packages that the minirootfs was made from, put together again from its database."""
    text = parts.alpine["lib/apk/db/installed"].content.decode()
    scripts = _scripts(parts)
    triggers = [line.split() for line in parts.alpine["lib/apk/db/triggers"].content.decode().splitlines()]
    for stanza in text.strip().split("\n\n"):
        lines = [(line[0], line[2:]) for line in stanza.splitlines()]
        facts = {letter: value for letter, value in lines if letter in "PVATULomtcDprik"}
        digest = dict(lines)["C"]
        watched = next((tuple(row[1:]) for row in triggers if row[0] == digest), ())
        yield Package(
            facts=facts, tree=_owned(lines, parts.alpine), scripts=scripts.get(digest, {}), triggers=watched
        )


def _owned(lines: Iterable[tuple[str, str]], root: Tree) -> Tree:
    """Return the files that a stanza of the database claims: F names a directory, R a file in it."""
    entries: dict[str, Entry] = {}
    where = ""
    for letter, value in lines:
        if letter == "F":
            where = value
        path = f"{where}/{value}".lstrip("/") if letter == "R" else where
        if letter in "FR" and path in root:
            entries[path] = root[path]
    return Tree(entries)


def _scripts(parts: Parts) -> dict[str, dict[str, bytes]]:
    """Return the packages' scripts, by the package's digest and their name in a package."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(fileobj=BytesIO(parts.alpine["lib/apk/db/scripts.tar"].content)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            head, _, name = member.name.rpartition(".")
            if content:
                found.setdefault(head.rpartition(".")[2], {})[f".{name}"] = content.read()
    return found


def _openrc(parts: Parts) -> Tree:
    """Return Debian's OpenRC where Alpine has its own, with services that Debian does not package."""
    programs = {ours: parts.debian[path] for path, ours in _OPENRC_PROGRAMS.items()}
    library = {
        f"usr/lib/rc/{path}": _without_lsb(entry) for path, entry in parts.below("usr/lib/rc/").items()
    }
    shared = {f"etc/init.d/{name}": parts.debian[f"etc/init.d/{name}"] for name in ("cgroups", "savecache")}
    settings = {
        "etc/rc.conf": parts.debian["etc/rc.conf"],
        "etc/pam.d/other": file(_PAM.replace(b"pam_permit", f"/{_LIBRARIES}/pam_permit".encode())),
        "usr/sbin/openrc-run": link("/sbin/openrc-run"),  # as Debian's own services name it
        "sbin/start-stop-daemon": link("/usr/lib/rc/sbin/start-stop-daemon"),
        "sbin/seedrng": link("/usr/lib/rc/sbin/seedrng"),
        **{f"etc/runlevels/{level}": directory() for level in ("sysinit", "boot", "default", "shutdown")},
    }
    return merge(Tree({**programs, **library, **shared, **settings}), _own("openrc"))


def _without_lsb(entry: Entry) -> Entry:
    """Return a script that does not ask, as Debian's do, whether a service is one of System V's."""
    return replace(entry, content=entry.content.replace(b'$(lsb2rcconf "$RC_SERVICE")', b""))


def _e2fsprogs(parts: Parts) -> Tree:
    programs = {f"sbin/{name}": parts.debian[f"usr/sbin/{name}"] for name in _E2FSPROGS}
    links = {f"sbin/fsck.{kind}": link("e2fsck") for kind in ("ext2", "ext3", "ext4")}
    makers = {f"sbin/mkfs.{kind}": link("mke2fs") for kind in ("ext2", "ext3", "ext4")}
    return Tree({**programs, **links, **makers, "etc/mke2fs.conf": parts.debian["etc/mke2fs.conf"]})


def _iptables(parts: Parts) -> Tree:
    program = "xtables-nft-multi"
    links = {f"usr/sbin/{name}": link(program) for name in _IPTABLES}
    return Tree({f"usr/sbin/{program}": parts.debian[f"usr/sbin/{program}"], **links})


def _extensions(parts: Parts) -> Tree:
    """Return what iptables loads where Debian has it; their libraries are by then there."""
    where = f"usr/lib/{parts.triplet}/xtables/"
    return Tree({f"{where}{name}": entry for name, entry in parts.below(where).items()})


def _own(name: str) -> Tree:
    home = OURS / name
    return Tree(
        {
            str(path.relative_to(home)): file(path.read_bytes(), 0o755)
            for path in sorted(home.rglob("*"))
            if path.is_file()
        }
    )


def _alpine_base(parts: Parts) -> Package:
    names = ("etc/alpine-release", "etc/os-release", "etc/issue")
    kept = Tree({name: parts.alpine[name] for name in names})
    needs = "alpine-baselayout alpine-keys apk-tools busybox busybox-mdev-openrc busybox-openrc"
    return _made(parts, "alpine-base", kept, "what every system has", f"{needs} musl-utils openrc")


def _made(parts: Parts, name: str, tree: Tree, text: str, needs: str = "") -> Package:
    arch, version = parts.arch, f"{parts.alpine_release}-r0"
    facts = {"P": name, "V": version, "A": arch, "T": f"stand-in: {text}", "L": "various", "o": name}
    commands = dict.fromkeys(path.rpartition("/")[2] for path in tree if "bin/" in path)
    provided = " ".join(f"cmd:{command}={version}" for command in commands)
    return Package(facts={**facts, "D": needs, "p": provided}, tree=tree)


def _programs(tree: Tree) -> dict[str, bytes]:
    return {path: entry.content for path, entry in tree.items() if entry.content.startswith(b"\x7fELF")}


def _libraries(parts: Parts, programs: Iterable[bytes]) -> Tree:
    """Return the loader and all libraries that Debian's programs need, made to find each other."""
    available = parts.below(f"usr/lib/{parts.triplet}/")
    loader = LOADERS[parts.arch].rpartition("/")[2]
    found: dict[str, bytes] = {"pam_permit.so": _resolved(available, _PERMIT)}
    queue = [*programs, found["pam_permit.so"]]
    while queue:
        for name in inspect(queue.pop(), parts.arch).needed:
            if name not in found and name != loader:
                found[name] = _resolved(available, name)
                queue.append(found[name])
    patched = _patched(found, [])
    patched[loader] = _resolved(available, loader)
    return Tree({f"{_LIBRARIES}/{name}": file(content, 0o755) for name, content in patched.items()})


def _resolved(available: Mapping[str, Entry], name: str) -> bytes:
    entry = available[name]
    while stat.S_ISLNK(entry.mode):
        entry = available[entry.content.decode()]
    return entry.content


def _at_home(tree: Tree, parts: Parts) -> Tree:
    """Return `tree` with programs that look for their loader and libraries in the stand-in's directory."""
    loader = f"/{_LIBRARIES}/{LOADERS[parts.arch].rpartition('/')[2]}"
    patched = _patched(_programs(tree), ["--set-interpreter", loader])
    return merge(tree, Tree({path: file(content, 0o755) for path, content in patched.items()}))


def _patched(files: Mapping[str, bytes], options: list[str]) -> dict[str, bytes]:
    patchelf = find("patchelf", package="patchelf")
    done = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, content) in enumerate(files.items()):
            path = Path(scratch) / str(number)
            path.write_bytes(content)
            run([patchelf, *options, "--set-rpath", f"/{_LIBRARIES}", path])
            done[name] = path.read_bytes()
    return done
