"""What a file is, and what is said about a build, as text."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.console.flags import CHECKOUT, content
from nodebake.console.text import as_json, shown, table
from nodebake.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nodebake.inspection import Finding
    from nodebake.plan import Plan
    from nodebake.provenance import Verified
    from nodebake.reproducing import Reproduced

PROVENANCE, PUBLIC = "provenance.intoto.jsonl", "signing.pub"
_MIB = 1 << 20
_UNSAID = "not said: it was made before files said so"


def inspected_as_text(file: Path, finding: Finding) -> str:
    """Return what a file is, what is in it and when its certificates expire."""
    size = sum(one.size for one in finding.files) / _MIB
    programs = [(f"/{one.path}", f"{one.size / _MIB:.1f} MiB", one.sha256) for one in finding.programs]
    programs += [(f"/{path}", "beside it", digest) for path, digest in finding.beside.items()]
    certificates = [(one.not_after[:10], one.subject, f"/{one.path}") for one in finding.certificates]
    lines = [
        f"{shown(file)}: {finding.what} ({finding.kind})",
        *table(("", ""), list(_facts(finding.release, finding.system)))[2:],
        f"contains  {len(finding.files)} files, {size:.1f} MiB",
    ]
    if programs:
        lines += ["", *table(("program", "size", "sha256"), programs)]
    if certificates:
        lines += ["", *table(("until", "certificate", "file"), certificates)]
    return "\n".join(lines)


def inspected_as_json(finding: Finding) -> str:
    """Return the same for a program, with every file's digest."""
    return as_json(finding.to_json())


def signed_as_text(out: Path, vault: Path | None, key: bytes, verdict: str) -> str:
    """Return what was signed, with which key, and what who verifies needs."""
    from nodebake.pki import key_id, public_half  # noqa: PLC0415 - slow to import

    lines = [f"{shown(out / PROVENANCE)}: signed with the key {key_id(public_half(key))}"]
    lines.append(f"the lab's verdict on it: {verdict}" if verdict else "the lab has no verdict on it")
    if vault:
        lines.append(f"who verifies needs {shown(vault / PUBLIC)}: ./invoke verify --from DIR --key {PUBLIC}")
    return "\n".join(lines)


def verified_as_text(where: str, done: Verified) -> str:
    """Return what was found to be true."""
    return "\n".join(
        [
            f"{where}: {done.files} files are what was signed, nothing is missing and nothing was added",
            f"signed with the key {done.key}",
            f"profile {done.profile}, plan sha256:{done.plan}, built by nodebake {done.builder}",
            f"the lab: {done.verdict or 'was not asked'}",
        ]
    )


def reproduced_as_text(plan: Plan, done: Reproduced) -> str:
    """Return what was the same, and under which conditions."""
    return "\n".join(
        [
            f"{plan.name}: {done.files} files, {done.size / _MIB:.1f} MiB, the same to the last byte",
            f"unlike in the second build: {', '.join(done.changed)}",
            *(f"not tried: {lack}" for lack in done.lacks),
        ]
    )


def verification_key(file: str, vault: str) -> bytes:
    """Return the public key to check with, PEM: a file's, a vault's, or that of the only vault that has one.

    Raises:
        UsageError: there is none.
    """
    from nodebake.vault import public_key  # noqa: PLC0415 - slow to import

    if file:
        return content("--key", file)
    told = vault or os.environ.get("NODEBAKE_VAULT", "")
    places = [Path(told).absolute()] if told else sorted((CHECKOUT / "vault").glob("*"))
    keys = [key for key in map(public_key, places) if key]
    if len(keys) == 1:
        return keys[0]
    what = "no vault has a key" if not keys else f"{len(keys)} vaults have keys"
    raise UsageError(f"{what} to check with", hint=f"name the signer's public key: --key {PUBLIC}")


def _facts(release: Mapping[str, str], system: str) -> Iterator[tuple[str, str]]:
    yield "node", release.get("NODE", "none's: nodes share it")
    for name, key in (
        ("cluster", "CLUSTER"),
        ("profile", "PROFILE"),
        ("builder", "BUILDER"),
        ("plan", "PLAN"),
    ):
        yield name, release.get(key) or _UNSAID
    epoch = release.get("EPOCH", "")
    when = (
        f"{dt.datetime.fromtimestamp(int(epoch), dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
        if epoch.isdigit()
        else _UNSAID
    )
    yield "epoch", when
    yield from (("input", value) for key, value in release.items() if key.startswith("INPUT_"))
    if system:
        yield "system", system
