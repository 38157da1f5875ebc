"""From `overlays/` and values to a `Tree`; the only place that knows Jinja2."""

from __future__ import annotations

import stat
import traceback
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateSyntaxError

from nodebake.errors import BuildError, UsageError
from nodebake.tree import Entry, Tree, file, link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OVERLAYS = Path(__file__).parent.parent / "overlays"
_TEMPLATE = ".j2"


def render(part: str, variants: Sequence[str], values: Mapping[str, object]) -> Tree:
    """Return the files of `overlays/<part>/<variant>/` for every variant, later ones winning.

    `*.j2` are Jinja2 templates and lose the suffix; other files are taken as they are. A file that
    begins with `#!` gets mode 0755, every other one 0644.

    Args:
        part: a directory in `overlays/`.
        variants: directories in it.
        values: what the templates may use; a name that is missing is an error.

    Raises:
        BuildError: a variant is missing, or a template is wrong; the message names its file and line.
    """
    entries: dict[str, Entry] = {}
    for variant in variants:
        plain, templates = _load(OVERLAYS, f"{part}/{variant}")
        entries |= plain
        entries |= {path: _entry(_fill(template, values)) for path, template in templates.items()}
    return Tree(entries)


def user_overlay(directory: Path, modes: Mapping[str, str]) -> Tree:
    """Return the user's own files in `directory`, laid out as on the target.

    The modes on the build machine's disk do not count: a file that begins with `#!` gets 0755, every
    other one 0644, unless `modes` says otherwise. Symbolic links stay links.

    Args:
        directory: where the files lie.
        modes: octal modes by target path, for instance `{"etc/wireguard/wg0.conf": "0600"}`.

    Raises:
        UsageError: the directory or a file in it cannot be read, or a mode is given for no file.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", hint="correct overlays[].path in the profile")
    wanted = {path.strip("/"): int(mode, 8) for path, mode in modes.items()}
    entries: dict[str, Entry] = {}
    try:
        for path in _files(directory):
            target = path.relative_to(directory).as_posix()
            entries[target] = _user_entry(path, wanted.pop(target, None))
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}", hint="see to its permissions") from error
    if wanted:
        raise UsageError(
            f"{directory} has no file {', '.join(sorted(wanted))}",
            hint="correct overlays[].modes in the profile",
        )
    return Tree(entries)


@cache
def _environment(root: Path) -> Environment:
    # The targets are configuration files and shell scripts: HTML escapes would break them.
    return Environment(
        loader=FileSystemLoader(root),
        autoescape=False,  # noqa: S701 - not HTML
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )


@cache
def _load(root: Path, folder: str) -> tuple[Mapping[str, Entry], Mapping[str, Template]]:
    directory = root / folder
    if not directory.is_dir():
        raise BuildError(f"overlays/{folder} is missing", hint="the checkout is incomplete")
    plain: dict[str, Entry] = {}
    templates: dict[str, Template] = {}
    for path in _files(directory):
        target = path.relative_to(directory).as_posix()
        if target.endswith(_TEMPLATE):
            templates[target.removesuffix(_TEMPLATE)] = _compile(root, path.relative_to(root).as_posix())
        elif path.is_symlink():
            plain[target] = link(str(path.readlink()))
        else:
            plain[target] = _entry(path.read_bytes())
    return plain, templates


def _compile(root: Path, name: str) -> Template:
    try:
        return _environment(root).get_template(name)
    except TemplateSyntaxError as error:
        raise BuildError(f"overlays/{name}:{error.lineno}: {error.message}") from error


def _fill(template: Template, values: Mapping[str, object]) -> bytes:
    try:
        return template.render(values).encode()
    except Exception as error:  # a template can raise whatever an expression in it raises
        lines = [
            step.lineno
            for step in traceback.extract_tb(error.__traceback__)
            if step.filename == template.filename
        ]
        raise BuildError(f"overlays/{template.name}:{lines[-1] if lines else 1}: {error}") from error


def _entry(content: bytes, mode: int | None = None) -> Entry:
    return file(content, (0o755 if content.startswith(b"#!") else 0o644) if mode is None else mode)


def _user_entry(path: Path, mode: int | None) -> Entry:
    if path.is_symlink():
        return link(str(path.readlink()))
    if not stat.S_ISREG(path.stat().st_mode):
        raise UsageError(f"{path} is neither a file nor a link", hint="remove it from the overlay")
    return _entry(path.read_bytes(), mode)


def _files(directory: Path) -> Iterator[Path]:
    # Not rglob, which passes over a directory that cannot be read.
    for path in sorted(directory.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path
