"""The tasks about what is inside and where it came from; `tasks.py` adds them to its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from invoke.tasks import task

from nodebake import console

if TYPE_CHECKING:
    from invoke.context import Context

# Rooms are imported in the tasks that need them: `./invoke --list` must not wait for them.
# ruff: noqa: PLC0415


@task(
    positional=["file"],
    help={
        "file": "an overlay, a seed's ISO, an archive, a renewal, an image in any form, or a card's device",
        "json": "as JSON, for programs, with every file's digest",
    },
)
def inspect(_: Context, file: str, json: bool = False) -> None:  # noqa: FBT001, FBT002 - a flag
    """Show what a file is, what it contains and when its certificates expire; needs no vault."""
    with console.session():
        from nodebake.inspection import inspect as look_into

        path = Path(file).absolute()
        finding = look_into(path)
    console.say(console.inspected_as_json(finding) if json else console.inspected_as_text(path, finding))


TASKS = (inspect,)
