"""All that a run needs before anything runs: emulator, guest system, programs."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.command import find
from nodebake.errors import UsageError
from nodebake.lab import alpine, components, debian, disks, floor, images
from nodebake.lab.accelerator import Accelerator, probe
from nodebake.lab.judge import Judge
from nodebake.lab.machine import Machine
from nodebake.lab.rack import Rack
from nodebake.lab.stranger import stranger
from nodebake.sources import Sources
from nodebake.sources.model import Fetched, Want

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nodebake.lab.guest import Guest
    from nodebake.lab.hardware import Hardware
    from nodebake.lab.network import Network
    from nodebake.lab.options import Options
    from nodebake.manifest import Manifest
    from nodebake.plan import NodePlan, Plan
    from nodebake.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is ready to be switched on.

    Attributes:
        plan: the cluster.
        options: the run's.
        progress: told what happens.
        work: directory for disks; consoles go beside it.
        accelerator: what runs the machines.
        guest: the system under the artefacts.
        etcd: for the machines.
        etcdctl: the operator's, for this machine.
    """

    plan: Plan
    options: Options
    progress: Progress
    work: Path
    accelerator: Accelerator
    guest: Guest
    etcd: Fetched
    etcdctl: Path

    def rack(self, network: Network) -> Rack:
        """Return the machines that boot the artefacts, switched off."""
        return self._rack(network, self._artefact, suffix="")

    def floor(self, network: Network, base: Path, archives: dict[str, Path], *, suffix: str) -> Rack:
        """Return machines that do nothing but run etcd, with the configuration in `archives`, by node.

        They start from the guest's floor, `base`, and have `suffix` in their names.
        """

        def bare(node: NodePlan, label: str) -> Hardware:
            return floor.hardware(
                self.plan,
                node,
                system=self._artefact(node, label),
                base=base,
                archive=archives[node.name],
                etcd=self.etcd,
            )

        return self._rack(network, bare, suffix=suffix)

    def _artefact(self, node: NodePlan, label: str) -> Hardware:
        return self.guest.hardware(self.plan, node, artefacts=self.options.out, work=self.work, label=label)

    def _rack(self, network: Network, hardware: Callable[[NodePlan, str], Hardware], *, suffix: str) -> Rack:
        start = time.monotonic()
        machines: dict[str, Machine] = {}

        def clock() -> float:
            return time.monotonic() - start

        def make(name: str, label: str) -> Machine:
            machines[label] = Machine(
                label + suffix,
                hardware(self.plan.node(name), label + suffix),
                number=len(machines) + 1,
                place=(network, self.accelerator, self.work.parent),
                clock=clock,
            )
            return machines[label]

        for node in self.plan.nodes:
            make(node.name, node.name)
        start = time.monotonic()  # making disks is no part of a start
        return Rack(
            plan=self.plan,
            machines=machines,
            judge=self._judge(network),
            progress=self.progress,
            clock=clock,
            spare=make,
            patience=self.options.patience,
        )

    def _judge(self, network: Network) -> Judge:
        operator = self.options.out / "operator"
        other = stranger(operator=operator, work=self.work)
        return Judge(plan=self.plan, network=network, etcdctl=self.etcdctl, operator=operator, stranger=other)


def prepare(plan: Plan, manifest: Manifest, *, options: Options, progress: Progress, work: Path) -> Bench:
    """Find or make all that a run needs.

    Args:
        plan: the cluster.
        manifest: what the build wrote.
        options: the run's.
        progress: told what happens.
        work: directory for disks.

    Raises:
        InputError: a tool or an input is missing.
    """
    find("curl", package="curl")
    components.find_tools(plan)
    disks.find_tools(plan)
    accelerator = probe(plan.arch, work=work)
    slow = f": {accelerator.why}; expect minutes" if accelerator.why else ""
    progress.note(f"machines run under {accelerator.name}{slow}")
    sources = Sources.of(options, progress)
    version = plan.profile.etcd.version
    own = Want(name="etcd", version=version, arch=platform.machine(), files=("etcdctl",))
    theirs = Want(name="etcd", version=version, arch=plan.arch, files=("etcd", "etcdctl"))
    etcdctl = work / "etcdctl"
    etcdctl.write_bytes(sources.fetch(own).files["etcdctl"])
    etcdctl.chmod(0o755)
    return Bench(
        plan=plan,
        options=options,
        progress=progress,
        work=work,
        accelerator=accelerator,
        guest=_guest(plan, manifest, options=options, progress=progress, work=work),
        etcd=sources.fetch(theirs),
        etcdctl=etcdctl,
    )


def _guest(plan: Plan, manifest: Manifest, *, options: Options, progress: Progress, work: Path) -> Guest:
    """Return the system under the artefacts; whole images have theirs on them; `base` names another."""
    whole = images.of(manifest, options.out) if options.base is None else None
    if whole:
        return whole
    if plan.profile.machine.os == "alpine":
        return alpine.prepare(plan, manifest, options=options, progress=progress, work=work)
    if plan.board.firmware:
        raise UsageError(
            f"{plan.name}: Debian starts on a Raspberry Pi from whole cards",
            hint=f"run: ./invoke image --profile {plan.name}",
        )
    return debian.prepare(options.cache, progress, mirror=options.mirror, offline=options.offline)
