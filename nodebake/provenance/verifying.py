"""Whether a build is what its signer signed: every byte of it, nothing missing and nothing besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nodebake.errors import InputError, UsageError
from nodebake.formats.card.ranges import digest
from nodebake.manifest import SPOOL
from nodebake.pki import key_id
from nodebake.provenance.envelope import PROVENANCE, opened
from nodebake.provenance.signing import PREDICATE, REPORT, STATEMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LAB = REPORT.partition("/")[0]
# Where the lab leaves more than its report, and publishing what it sent.
_BESIDE = (f"{_LAB}/", f"{SPOOL}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found to be true.

    Attributes:
        profile: the name of what was built.
        plan: the plan's digest, hexadecimal.
        builder: its version.
        files: how many files are as they were signed.
        key: what names the key.
        verdict: the lab's, and the scenario; empty where it was not asked.
    """

    profile: str
    plan: str
    builder: str
    files: int
    key: str
    verdict: str


def verify(out: Path, public: bytes, *, node: str = "") -> Verified:
    """Check signature and digests of the build that lies in `out`.

    Args:
        out: the build's directory.
        public: the signer's public key, PEM.
        node: the only node whose files must be there; empty for all.

    Raises:
        UsageError: nothing there was signed, or has such a node; or the key is none.
        InputError: the signature does not fit; or a file is missing, altered or was added, each by its name.
    """
    statement = opened(_read(out), public)
    expected, predicate = _subjects(statement), statement["predicate"]
    definition, run = predicate["buildDefinition"], predicate["runDetails"]
    for one in run["byproducts"]:
        expected[one["name"]] = one["digest"]["sha256"]
    nodes = {path.partition("/")[0] for path in expected if "/" in path} - {_LAB, "operator"}
    if node and node not in nodes:
        raise UsageError(f"what was signed has no node {node}", hint=f"it has {', '.join(sorted(nodes))}")
    passed_over = nodes - {node} | {"operator", _LAB} if node else set()
    if not (out / "operator").exists():  # it was published and pulled: the operator's keys stay at home
        passed_over |= {"operator"}
    checked = {path: sha256 for path, sha256 in expected.items() if path.partition("/")[0] not in passed_over}
    wrong = sorted([*_wrong(out, checked), *_added(out, expected)])
    if wrong:
        raise InputError("\n".join(wrong), hint="do not use it: get it again from who built it")
    verdict: dict[str, str] = next((one["annotations"] for one in run["byproducts"]), {})
    return Verified(
        profile=definition["externalParameters"]["profile"],
        plan=definition["internalParameters"]["plan"]["sha256"],
        builder=run["builder"]["version"]["nodebake"],
        files=len(checked),
        key=key_id(public),
        verdict=f"{verdict['verdict']} ({verdict['scenario']})" if verdict else "",
    )


def _read(out: Path) -> bytes:
    try:
        return (out / PROVENANCE).read_bytes()
    except NotADirectoryError as error:
        hint = "name the directory of the build that it belongs to"
        raise UsageError(f"{out} is a file, and what was signed is a whole build", hint=hint) from error
    except OSError as error:
        if (out / "oci-layout").exists():
            raise UsageError(f"{out} is a publication", hint=f"name it as one: file://{out}") from error
        raise UsageError(
            f"{out} has no {PROVENANCE}: it was not signed, or was built again since",
            hint="who built it runs: ./invoke sign --profile P",
        ) from error


def _subjects(statement: Mapping[str, Any]) -> dict[str, str]:
    if (statement.get("_type"), statement.get("predicateType")) != (STATEMENT, PREDICATE):
        raise InputError(f"{PROVENANCE}: is a statement about something else than a build")
    return {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}


def _wrong(out: Path, expected: Mapping[str, str]) -> Iterator[str]:
    for path, sha256 in expected.items():
        file = out / path
        if file.is_symlink() or not file.is_file():
            yield f"{path}: is missing"
            continue
        got = digest(file)
        if got != sha256:
            yield f"{path}: was altered\n  signed {sha256}\n  is     {got}"


def _added(out: Path, expected: Mapping[str, str]) -> Iterator[str]:
    """Yield what is there and was not signed; what the lab and publishing leave does not count."""
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        inside = path.is_dir() and not path.is_symlink()
        known = name == PROVENANCE or name in expected or name.startswith(_BESIDE)
        if not inside and not known:
            yield f"{name}: was added"
