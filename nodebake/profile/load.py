"""A profile's file -> `Loaded`: found, read, extended, validated, with the line of every value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nodebake.errors import Problem, ProfileError
from nodebake.profile import positions, wording
from nodebake.profile.marks import Marks
from nodebake.profile.positions import Written
from nodebake.profile.remains import remains
from nodebake.profile.schema import Profile
from nodebake.profile.types import told

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).resolve().parents[2]
PROFILES = CHECKOUT / "profiles"
_LARGEST = 4 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A profile, and where each of its values was written.

    Attributes:
        name: the file's name without its suffix; names the directory of the artefacts.
        path: the profile's file.
        files: that file, and those it extends.
        profile: what it says, with defaults.
        marks: where each value was written.
        problems: what is wrong with values that the profile can be read without; they are left out of it.
    """

    name: str
    path: Path
    files: tuple[Path, ...]
    profile: Profile
    marks: Marks
    problems: tuple[Problem, ...] = ()

    @property
    def directory(self) -> Path:
        """The directory that relative file names in the profile start from."""
        return self.path.parent

    def problem(self, path: str, what: str, todo: str = "") -> Problem:
        """Return a problem with the value at `path`, see `Marks.problem`."""
        return self.marks.problem(path, what, todo)

    def origin(self, path: str) -> str:
        """Return where the value at `path` was written, see `Marks.origin`."""
        return self.marks.origin(path)


def load(name_or_path: str, *, profiles: Path = PROFILES) -> Loaded:
    """Read a valid profile; see `read`.

    Raises:
        ProfileError: with every problem there is, in the order of the file.
    """
    loaded = read(name_or_path, profiles=profiles)
    if loaded.problems:
        raise ProfileError(loaded.problems)
    return loaded


def read(name_or_path: str, *, profiles: Path = PROFILES) -> Loaded:
    """Read and validate a profile, as far as it can be understood.

    Args:
        name_or_path: a name in `profiles`, or the path of a file (with a slash or a .yaml suffix).
        profiles: the directory of profiles known by name.

    Raises:
        ProfileError: with every problem there is, in the order of the file, where too little is left to go
            on with.
    """
    path = _find(name_or_path, profiles)
    if not _NAME.fullmatch(path.stem):
        what = f"the file name {path.name!r} cannot name a directory of artefacts"
        raise ProfileError([Problem(what=what, todo="use letters, digits, '.', '_' and '-'")])
    written, files = _extended(path, profiles, ())
    values = dict(written.walk())
    problems = list(wording.urls(values))
    try:
        profile = Profile.model_validate(written.plain())
    except ValidationError as error:
        known = {problem.path for problem in problems}
        problems += [one for one in wording.problems(error, values) if one.path not in known]
        left = remains(written, error)
        if left is None:
            raise ProfileError(problems) from error
        written, profile = left
    return Loaded(
        name=path.stem,
        path=path,
        files=files,
        profile=profile,
        marks=Marks(dict(written.walk())),
        problems=tuple(problems),
    )


def names(profiles: Path = PROFILES) -> tuple[str, ...]:
    """Return the names that `load` knows, sorted."""
    return tuple(sorted(path.stem for path in profiles.glob("*.yaml")))


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a profile's file, for editors."""
    made = Profile.model_json_schema()
    extends = {
        "type": "string",
        "title": "Extends",
        "description": "A profile this one is laid over: its name, or its path from this file.",
    }
    made["properties"] = {"extends": extends, **made["properties"]}
    # A profile that extends another may leave any key to it, so an editor must not ask for it there.
    made["anyOf"] = [{"required": ["extends"]}, _demands(made, made["$defs"])]
    made["title"] = "A nodebake profile"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _demands(section: dict[str, Any], sections: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Take what is required out of a section and those in it, and return it as a schema of its own.

    Items of lists keep theirs: `extends` replaces a list as a whole.
    """
    inside = {}
    for key, value in section["properties"].items():
        for choice in (value, *value.get("anyOf", ())):
            if "$ref" in choice:
                inside[key] = _demands(sections[choice["$ref"].rpartition("/")[2]], sections)
    required, properties = section.pop("required", []), {key: value for key, value in inside.items() if value}
    demands = {"required": required, "properties": properties}
    return {key: value for key, value in demands.items() if value}


def shown(path: Path) -> str:
    """Return a file's name for messages: from the checkout or the current directory when it is inside."""
    absolute = path.resolve()
    for root in (CHECKOUT, Path.cwd()):
        if absolute.is_relative_to(root):
            return str(absolute.relative_to(root))
    return str(path)


def _find(name: str, profiles: Path, above: Path = Path(), where: str = "") -> Path:
    """Return the file that `name` stands for; `above` is the file that extends it, at `where`."""
    directory = above.parent
    is_path = "/" in name or name.endswith((".yaml", ".yml"))
    try:
        path = directory / Path(name).expanduser() if is_path else profiles / f"{name}.yaml"
        if path.is_file():
            return path.absolute()
        what = f"{name!r} is a directory" if path.is_dir() else f"there is no profile {name!r}"
        todo = _beside(name, above, is_path=is_path) or _near_miss(path, profiles)
    except (OSError, RuntimeError, ValueError) as error:
        what, todo = f"{name!r} cannot be the name of a file ({error})", "check it"
    raise ProfileError([Problem(where=where, path="extends" if where else "", what=what, todo=todo)])


def _beside(name: str, above: Path, *, is_path: bool) -> str:
    """Return what to write for the file that `name` means when only its suffix or directory is missing."""
    file = f"{name}.yaml"
    near = above.parent / Path(file).expanduser()
    if not near.is_file() or near.resolve() == above.resolve():
        return ""
    return f"write {file if is_path else f'./{file}'}"


def _near_miss(path: Path, profiles: Path) -> str:
    directory = path.parent if path.parent.is_dir() else profiles
    known = {name: name for name in names(profiles)}
    if directory.resolve() != profiles.resolve():
        known |= {str(near): near.stem for near in directory.glob("*.yaml")}
    close = [name for name, stem in known.items() if get_close_matches(path.stem, [stem])]
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(known)}" if known else f"there are no profiles in {shown(profiles)}"


def _extended(path: Path, profiles: Path, chain: tuple[Path, ...]) -> tuple[Written, tuple[Path, ...]]:
    """Return what the file says, laid over what it extends, and the files that were read."""
    file = shown(path)
    written = positions.read(_content(path, file), file)
    if not isinstance(written.value, dict):
        what = f"{told(written.value)} is not a profile"
        raise ProfileError([Problem(where=written.where, what=what, todo="begin with schema: 1")])
    if "extends" not in written.value:
        return written, (path,)
    extends = written.value["extends"]
    own = Written(
        value={key: value for key, value in written.value.items() if key != "extends"}, where=written.where
    )
    if not isinstance(extends.value, str):
        problem = Problem(
            where=extends.where, path="extends", what="not a name", todo="write one profile's name or path"
        )
        raise ProfileError([problem])
    base = _find(extends.value, profiles, path, extends.where)
    chain = (*chain, path.resolve())
    if base.resolve() in chain:
        cycle = " extends ".join(shown(link) for link in (*chain, base))
        problem = Problem(
            where=extends.where, path="extends", what=f"a circle: {cycle}", todo="remove one of them"
        )
        raise ProfileError([problem])
    below, files = _extended(base, profiles, chain)
    return own.over(below), (path, *files)


def _content(path: Path, file: str) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise ProfileError([Problem(where=file, what=what, todo="check its permissions")]) from error
    if len(content) > _LARGEST:
        raise ProfileError([Problem(where=file, what="larger than 4 MiB", todo="is this a profile?")])
    return content
