"""A small plan and a small node's files, for the tests of what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodebake import plan as core
from nodebake.components.contract import Baked
from nodebake.profile.load import load
from nodebake.tree import Tree, directory, file, link

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.plan import Plan

EPOCH = 1_700_000_000
PROFILE = """\
schema: 1
cluster: {name: edge, domain: edge.example.com}
machine: {os: debian, board: vm}
network: {interface: "en*", gateway: [192.168.7.1], nameservers: [192.168.7.1]}
nodes:
  - {name: x-1, address: [192.168.7.11/24]}
  - {name: x-2, address: [192.168.7.12/24, "fd00::12/64"]}
  - {name: x-3, address: [192.168.7.13/24]}
outputs: [nocloud]
"""
BINARY = bytes(range(256)) * 2000


def plan(directory_: Path, text: str = PROFILE) -> Plan:
    """Return the plan of a profile with this text."""
    path = directory_ / "edge.yaml"
    path.write_text(text)
    resolved, problems = core.resolve(load(str(path)))
    assert problems == []
    return resolved


def baked(name: str = "x-1") -> Baked:
    """Return what a node called `name` might be baked from."""
    root = {
        "usr/local/bin/etcd": file(BINARY, 0o755, shared=True),
        "usr/local/bin/etcdctl": file(BINARY[:70_000], 0o755, shared=True),
        "usr/local/sbin/mine": file(b"#!/bin/sh\n", 0o755),
        "etc/hostname": file(name.encode() + b"\n"),
        "etc/etcd/pki": directory(0o750),
        "etc/etcd/pki/server.key": file(b"key of " + name.encode(), 0o600),
        "etc/systemd/system/etcd.service": file(b"[Service]\nExecStart=/bin/true\n"),
        "etc/systemd/system/multi-user.target.wants/etcd.service": link("../etcd.service"),
        "root": directory(0o700),
    }
    return Baked(root=Tree(root), boot=Tree({"usercfg.txt": file(b"x=1\n"), "overlays/a.dtbo": file(b"d")}))
