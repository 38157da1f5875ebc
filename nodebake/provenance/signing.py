"""Where a build came from, as an in-toto statement with SLSA's predicate.

Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nodebake import VERSION
from nodebake.errors import BuildError, UsageError
from nodebake.formats.card.ranges import digest
from nodebake.formats.writing import replace
from nodebake.manifest import MANIFEST, OUTLINE, SUMS, load
from nodebake.provenance.bill import KIND
from nodebake.provenance.envelope import PROVENANCE, sealed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nodebake.manifest import Manifest
    from nodebake.plan import Plan

STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
REPORT = "lab/report.json"
# What a build writes besides its artefacts.
_BESIDE = (MANIFEST, SUMS, OUTLINE)
_BUILD = "urn:nodebake:build:1"
_BUILDER = "urn:nodebake:builder"


def sign(plan: Plan, out: Path, key: bytes) -> str:
    """Sign the build of `plan` that lies in `out`; return the lab's verdict on it, or nothing.

    Args:
        plan: what was built.
        out: the build's directory.
        key: the private key, PEM.

    Raises:
        UsageError: there is no build, the profile has changed since, or the key is none that signs here.
        BuildError: an artefact is not what the manifest says, or has no bill of materials.
    """
    manifest = _manifest(plan, out)
    _check(plan, manifest, out)
    report = _report(manifest, out)
    statement = _statement(plan, manifest, out, report)
    replace(out / PROVENANCE, (sealed(statement, key),), epoch=manifest.epoch)
    return str(report["annotations"]["verdict"]) if report else ""


def _manifest(plan: Plan, out: Path) -> Manifest:
    manifest = load(out, plan.name)
    if (manifest.profile, manifest.cluster) != (plan.name, plan.profile.cluster.name):
        hint = f"run: ./invoke build --profile {plan.name}"
        raise UsageError(f"{out} has a build of {manifest.profile}, not of {plan.name}", hint=hint)
    return manifest


def _check(plan: Plan, manifest: Manifest, out: Path) -> None:
    """See that what is signed is what was built, and what was built is of this plan."""
    wrong = [item.path for item in manifest.artifacts if _digest(out / item.path) != item.sha256]
    if wrong:
        raise BuildError(
            f"not what the manifest says: {', '.join(wrong)}", hint="build again; do not sign this"
        )
    for name, items in manifest.nodes.items():
        bill = next((item for item in items if item.kind == KIND), None)
        if bill is None:
            raise BuildError(
                f"{name} has no bill of materials: it was built by a version from before there were any",
                hint="build again, then sign",
            )
        properties = json.loads((out / bill.path).read_bytes())["metadata"]["component"]["properties"]
        said = next((one["value"] for one in properties if one["name"] == "nodebake:plan"), "")
        if said != f"sha256:{plan.digest()}":
            raise UsageError(
                f"the profile {plan.name} has changed since {name} was built", hint="build again, then sign"
            )


def _statement(plan: Plan, manifest: Manifest, out: Path, report: dict[str, Any] | None) -> dict[str, Any]:
    sums = {item.path: item.sha256 for item in manifest.artifacts}
    sums |= {name: _digest(out / name) for name in _BESIDE if (out / name).exists()}
    files = [{"name": path.name, "digest": {"sha256": _digest(path)}} for path in plan.files]
    return {
        "_type": STATEMENT,
        "subject": [{"name": path, "digest": {"sha256": sha256}} for path, sha256 in sorted(sums.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD,
                "externalParameters": {"profile": plan.name, "files": files},
                "internalParameters": {
                    "cluster": manifest.cluster,
                    "epoch": manifest.epoch,
                    "plan": {"sha256": plan.digest()},
                },
                "resolvedDependencies": list(_inputs(manifest)),
            },
            "runDetails": {
                "builder": {"id": _BUILDER, "version": {"nodebake": VERSION}},
                "byproducts": [report] if report else [],
            },
        },
    }


def _inputs(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for one in manifest.inputs:
        yield {
            "name": one.name,
            "uri": one.source,
            "digest": {"sha256": one.sha256},
            "annotations": {"version": one.version, "arch": one.arch},
        }


def _report(manifest: Manifest, out: Path) -> dict[str, Any] | None:
    """Return the lab's report as a byproduct, if it is about these very artefacts."""
    try:
        report = json.loads((out / REPORT).read_bytes())
        booted = {node["digest"] for node in report["nodes"]}
        verdict = {"verdict": report["verdict"], "scenario": report["scenario"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not booted or not booted <= {item.sha256 for item in manifest.artifacts}:
        return None
    return {"name": REPORT, "digest": {"sha256": _digest(out / REPORT)}, "annotations": verdict}


def _digest(path: Path) -> str:
    try:
        return digest(path)
    except OSError:
        return ""
