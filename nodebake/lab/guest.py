"""What the lab asks of a system that machines boot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from nodebake.lab.hardware import Hardware
    from nodebake.plan import NodePlan, Plan


class Guest(Protocol):
    """A system that is ready to be booted with a node's artefact."""

    @property
    def kind(self) -> str:
        """Say which of a node's artefacts its machine boots, as the manifest calls it, for the report."""

    @property
    def version(self) -> str:
        """Say which system and which kernel it is, for the report."""

    @property
    def floor(self) -> Path | None:
        """Return a cpio archive with busybox and the network card's driver, see `floor`.

        There is none for a Pi: its emulator is not about speed.
        """

    def hardware(
        self, plan: Plan, node: NodePlan, *, artefacts: Path, work: Path, label: str = ""
    ) -> Hardware:
        """Return the machine that boots the node's artefact, with disks of its own.

        Args:
            plan: the cluster.
            node: whose artefact it gets.
            artefacts: the build's directory.
            work: directory for its disks.
            label: tells a second machine with the same artefact apart.
        """
