"""What a flashing is told: where the images are, what is allowed, and who can be asked."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - the annotation of a field
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.errors import SafetyError, UsageError
from nodebake.formats.card.ranges import digest
from nodebake.manifest import Artifact, load
from nodebake.progress import Silent

if TYPE_CHECKING:
    from nodebake.plan import NodePlan
    from nodebake.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What the user allowed beforehand.

    Attributes:
        known: serial number of a device that may be written to although it looks like no card.
        replace: whether another node's card may be written over.
    """

    known: str = ""
    replace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything about a flashing but the node and the device.

    Attributes:
        out: the build's directory.
        vault: the cluster's vault, for its record of cards.
        checkout: a directory whose disk is not to be touched.
        allowed: what may be done that would be refused.
        yes: do not ask.
        ask: shows a prompt and returns what was typed; None without a terminal.
        progress: told what happens.
        sysroot: root of the machine that the devices are of.
    """

    out: Path
    vault: Path
    checkout: Path
    allowed: Permission = field(default_factory=Permission)
    yes: bool = False
    ask: Callable[[str], str] | None = None
    progress: Progress = field(default_factory=Silent)
    sysroot: Path = Path("/")

    def artifacts(self, node: NodePlan) -> tuple[Artifact, ...]:
        """Return what was built for `node`.

        Raises:
            UsageError: nothing was.
        """
        manifest = load(self.out)
        if node.name not in manifest.nodes:
            raise UsageError(f"{self.out} has nothing of {node.name}", hint="build it first")
        return manifest.nodes[node.name]

    def artifact(self, node: NodePlan, name: str) -> Artifact:
        """Return the artefact of `node` with that file name.

        Raises:
            UsageError: there is none.
        """
        for artifact in self.artifacts(node):
            if artifact.path == f"{node.name}/{name}":
                return artifact
        raise UsageError(
            f"{self.out} has no {name}", hint="make it first: ./invoke image with the same profile"
        )

    def verified(self, artifact: Artifact) -> Path:
        """Return the artefact's file.

        Raises:
            SafetyError: it is not what the manifest says.
        """
        path, task = self.out / artifact.path, f"checking {artifact.path}"
        self.progress.start(task)
        try:
            found = digest(path)
        except OSError as error:
            raise SafetyError(f"{path}: {error.strerror}", hint="build it again") from error
        finally:
            self.progress.finish(task)
        if found != artifact.sha256:
            raise SafetyError(f"{path} is not what the manifest says it is", hint="build it again")
        return path

    def confirmed(self, text: str, *, word: str) -> None:
        """Have the user confirm what `text` says by typing `word`.

        Raises:
            SafetyError: nobody can, or something else was typed.
        """
        if self.yes:
            self.progress.note(text)
            return
        if self.ask is None:
            raise SafetyError(f"{text}\nnobody is here to confirm that", hint="add --yes if it is right")
        typed = self.ask(f"{text}\ntype {word} to go on: ").strip()
        if typed != word:
            raise SafetyError(f"{typed or 'nothing'} is not {word}: nothing was written")
