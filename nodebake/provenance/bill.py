"""A software bill of materials per node: CycloneDX 1.6 as JSON; the owner of `cyclonedx`.

What nodes have in common goes through the library once in a build; a node's own part is its artefacts.
Source: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nodebake import VERSION
from nodebake.formats.writing import artifact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from cyclonedx.model.component import Component

    from nodebake.bases.packages import Package
    from nodebake.manifest import Artifact, UsedInput
    from nodebake.plan import NodePlan, Plan

KIND, IMAGE_KIND = "sbom", "image-sbom"
_DEB = ".deb"
_NODE, _SERIAL = "node", "serialNumber"
_AND = " AND "
_UNSTATED = "NOASSERTION"
"""SPDX's word for: whoever made it says nothing that a program could read."""
_RUNTIMES = frozenset({"libc6"})
_SYSTEMS = frozenset({"alpine-rpi", "alpine-virt", "debian"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What the bills of nodes with the same programs have in common.

    Attributes:
        document: the CycloneDX document without any node's own.
        cluster: its name.
        plan: the plan's digest.
        epoch: seconds since 1970.
    """

    document: Mapping[str, Any]
    cluster: str
    plan: str
    epoch: int

    def write(self, node: NodePlan, artifacts: Sequence[Artifact], *, out: Path) -> Artifact:
        """Write a node's bill, `<node>.cdx.json`.

        Args:
            node: whose.
            artifacts: what was written for it.
            out: the node's directory.

        Raises:
            BuildError: it could not be written.
        """
        properties = {"cluster": self.cluster, "role": node.role, "plan": f"sha256:{self.plan}"}
        component = {
            "bom-ref": _NODE,
            "type": "firmware",
            "name": node.name,
            "version": str(self.epoch),
            "properties": [
                {"name": f"nodebake:{name}", "value": value} for name, value in properties.items()
            ],
        }
        document = {
            **self.document,
            "metadata": {**self.document["metadata"], "component": component},
            "components": [*self.document["components"], *map(_artifact, artifacts)],
        }
        path = out / f"{node.name}.cdx.json"
        return artifact(KIND, path, _text(document), root=out.parent, epoch=self.epoch)


def bill(
    plan: Plan,
    used: Iterable[UsedInput],
    programs: Mapping[str, str],
    *,
    licences: Mapping[str, str],
    epoch: int,
) -> Bill:
    """Return what the bills of nodes with these programs have in common.

    Args:
        plan: the cluster.
        used: the inputs that were baked in.
        programs: SHA-256 of the files taken from them, hexadecimal, by their place on the node.
        licences: SPDX expressions by the inputs' names.
        epoch: seconds since 1970.
    """
    files = [
        {
            "bom-ref": f"file:/{path}",
            "type": "file",
            "name": f"/{path}",
            "hashes": _hashes(sha256),
        }
        for path, sha256 in programs.items()
    ]
    document = _document([_input(one, licences.get(one.name, "")) for one in used], epoch)
    document["components"] += files
    return Bill(document=document, cluster=plan.profile.cluster.name, plan=plan.digest(), epoch=epoch)


def packages(
    rows: Iterable[Package], used: UsedInput, *, licences: Mapping[str, str]
) -> Sequence[Mapping[str, Any]]:
    """Return the components of an operating system under an image, and it itself first."""
    document = _document([_input(used, licences.get(used.name, "")), *map(_package, rows)], 0)
    system = f"input:{used.name}"
    components: list[Mapping[str, Any]] = document["components"]
    return sorted(components, key=lambda one: (one["bom-ref"] != system, one["bom-ref"]))


def write_image(
    node: NodePlan,
    before: Artifact,
    image: Artifact,
    system: Sequence[Mapping[str, Any]],
    *,
    root: Path,
    epoch: int,
) -> Artifact:
    """Write an image's bill, `<node>.img.cdx.json`: the node's, and the operating system's packages.

    Args:
        node: whose image.
        before: the node's own bill.
        image: what was written.
        system: see `packages`.
        root: the build's directory.
        epoch: seconds since 1970.

    Raises:
        BuildError: it could not be written.
        OSError: the node's own bill cannot be read.
    """
    document = json.loads((root / before.path).read_bytes())
    document["components"] += [_artifact(image), *system]
    path = root / node.name / f"{node.name}.img.cdx.json"
    return artifact(IMAGE_KIND, path, _text(document), root=root, epoch=epoch)


def _document(components: Iterable[Component], epoch: int) -> dict[str, Any]:
    from cyclonedx.model.bom import Bom, BomMetaData  # noqa: PLC0415 - slow to import, and not all builds need it
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415 - the same
    from cyclonedx.model.tool import ToolRepository  # noqa: PLC0415 - the same
    from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415 - the same

    builder = Component(name="nodebake", version=VERSION, type=ComponentType.APPLICATION, bom_ref="nodebake")
    when = dt.datetime.fromtimestamp(epoch, dt.UTC)
    metadata = BomMetaData(timestamp=when, tools=ToolRepository(components=[builder]))
    bom = Bom(metadata=metadata, components=components)
    # The library gives these at random, and its dependencies say nothing here.
    made: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    for key in (_SERIAL, "dependencies"):
        made.pop(key, None)
    return {"components": [], **made}


def _input(used: UsedInput, licence: str) -> Component:
    from cyclonedx.model import (  # noqa: PLC0415 - slow to import, and not all builds need it
        ExternalReference,
        ExternalReferenceType,
        HashAlgorithm,
        HashType,
        XsUri,
    )
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415 - the same
    from packageurl import PackageURL  # noqa: PLC0415 - the same

    kind = ComponentType.APPLICATION
    if used.name in _SYSTEMS:
        kind = ComponentType.OPERATING_SYSTEM
    elif used.name in _RUNTIMES:
        kind = ComponentType.LIBRARY
    purl = PackageURL("generic", None, used.name, used.version, {"checksum": f"sha256:{used.sha256}"})
    if used.source.endswith(_DEB):
        arch = used.source.removesuffix(_DEB).rpartition("_")[2]
        purl = PackageURL("deb", "debian", used.name, used.version, {"arch": arch})
    taken = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(used.source),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=used.sha256)],
    )
    return Component(
        bom_ref=f"input:{used.name}",
        type=kind,
        name=used.name,
        version=used.version,
        licenses=_licences(licence),
        purl=purl,
        external_references=[taken],
    )


def _package(one: Package) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType  # noqa: PLC0415 - slow to import, and not all builds need it
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415 - the same
    from packageurl import PackageURL  # noqa: PLC0415 - the same

    kind = "apk" if one.system == "alpine" else "deb"
    purl = PackageURL(kind, one.system, one.name, one.version, {"arch": one.arch})
    return Component(
        bom_ref=purl.to_string(),
        type=ComponentType.LIBRARY,
        name=one.name,
        version=one.version,
        licenses=_licences(one.licence),
        purl=purl,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one.sha256)] if one.sha256 else None,
    )


def _licences(text: str) -> list[Any]:
    """Return a licence as CycloneDX has it: an SPDX expression, or else each part of it by its id or name."""
    from cyclonedx.contrib.license.factories import LicenseFactory  # noqa: PLC0415 - slow to import
    from cyclonedx.model.license import LicenseExpression  # noqa: PLC0415 - the same

    factory = LicenseFactory()
    whole = factory.make_from_string(text or _UNSTATED)
    if isinstance(whole, LicenseExpression) or _AND not in text:
        return [whole]
    parts = map(factory.make_from_string, text.split(_AND))
    # Beside others CycloneDX takes no expressions.
    return [
        factory.make_with_name(str(one.value)) if isinstance(one, LicenseExpression) else one for one in parts
    ]


def _artifact(item: Artifact) -> dict[str, Any]:
    name = item.path.partition("/")[2]
    return {"bom-ref": f"artifact:{name}", "type": "file", "name": name, "hashes": _hashes(item.sha256)}


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _text(document: Mapping[str, Any]) -> bytes:
    """Return the document with a serial number that its content decides (RFC 4122, version 5)."""
    content = {key: value for key, value in document.items() if key != _SERIAL}
    text = json.dumps(content, sort_keys=True)
    serial = uuid.uuid5(uuid.NAMESPACE_OID, text).urn
    return f'{text[:-1]}, "{_SERIAL}": "{serial}"}}\n'.encode()
