"""Disks besides the one that a machine starts from, read back by blkid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodebake.command import run
from nodebake.errors import InputError
from nodebake.lab import further
from tests.components import DEBIAN, plan_of
from tests.need import need

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.lab.hardware import Drive
    from nodebake.plan import Plan

LOG = {"wal_device": "LABEL=WAL"}


def drives(plan: Plan, work: Path) -> tuple[Drive, ...]:
    """Return the disks of the first node."""
    need("mke2fs", package="e2fsprogs")
    return further.drives(plan, plan.nodes[0], work=work, name="m1")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"machine": {"data": {"place": "own-disk"}}}, ["DATA"]),
        ({"etcd": LOG}, ["WAL"]),
        (
            {**DEBIAN, "machine": {**DEBIAN["machine"], "data": {"device": "LABEL=D"}}, "etcd": LOG},
            ["D", "WAL"],
        ),
    ],
)
def test_each_file_system_that_is_elsewhere_has_a_disk(
    tmp_path: Path, changes: dict[str, dict[str, object]], expected: list[str]
) -> None:
    """Data that a node makes room for on the disk that it starts from has none."""
    made = drives(plan_of(tmp_path, **changes), tmp_path)
    labels = [
        run([need("blkid", package="util-linux"), "-o", "value", "-s", "LABEL", one.path]) for one in made
    ]
    assert expected == [label.decode().strip() for label in labels]
    assert {"data"} >= {one.role for one in made}


def test_file_systems_that_the_lab_cannot_make_are_told_at_once(tmp_path: Path) -> None:
    """Both are named, with what the lab does make."""
    data = {"device": "/dev/vdc", "filesystem": "xfs"}
    plan = plan_of(
        tmp_path,
        **{**DEBIAN, "machine": {**DEBIAN["machine"], "data": data}},
        etcd={"wal_device": "/dev/vdb"},
    )
    with pytest.raises(InputError, match=r"/data \(xfs on /dev/vdc\), /wal \(ext4 on /dev/vdb\)"):
        drives(plan, tmp_path)
