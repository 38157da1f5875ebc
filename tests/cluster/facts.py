"""What a built node says about itself, read by other readers than its writers: one flat table of facts."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from nodebake.command import run
from tests.cluster.unit import UNIT, read_unit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.cluster.built import Built

Facts = dict[str, Any]
DAY = 86400
_LISTS = ("After", "Before", "Wants", "WantedBy", "RequiredBy", "Documentation")
_URLS = ("listen-peer-urls", "listen-client-urls", "advertise-client-urls", "initial-cluster")
_SHORT = {"countryName": "C", "stateOrProvinceName": "ST", "localityName": "L"}
_SHORT |= {"organizationName": "O", "organizationalUnitName": "OU", "commonName": "CN"}


def facts(built: Built, name: str, directory: Path) -> Facts:
    """Unpack a node's artefact and return what its files say.

    Single values are plain; where a file has a list, the fact is a set. Paths have no leading slash.
    """
    for archive in _archives(built, name):
        run(["tar", "-C", directory, "-xf", archive])
    # Alpine runs these from its boot medium: on the node, links at the same places lead there.
    for beside in built.out.glob(f"{name}/boot/nodebake/*/"):
        run(["cp", "-R", beside, directory])
    epoch = json.loads((built.out / "manifest.json").read_text())["epoch"]
    config = yaml.safe_load((directory / "etc/etcd/conf.yml").read_text())
    found: Facts = {
        "files": {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()},
        "hosts": _hosts((directory / "etc/hosts").read_text()),
        "hostname": (directory / "etc/hostname").read_text().strip(),
        "etcd version": _version(built),
    }
    found |= _configuration(config)
    found |= _variables("profile", (directory / "etc/profile.d/etcdctl.sh").read_text())
    for title, section in (("server", "client-transport-security"), ("peer", "peer-transport-security")):
        found |= _certificate(title, directory, config[section]["cert-file"], epoch)
    found |= _certificate("ca", directory, config["client-transport-security"]["trusted-ca-file"], epoch)
    key = directory / config["client-transport-security"]["key-file"].lstrip("/")
    found["server key mode"] = f"{key.stat().st_mode & 0o777:04o}"
    found |= _service(directory, found)
    return found | _flannel(directory, epoch)


def _archives(built: Built, name: str) -> list[Path]:
    for pattern in ("*.apkovl.tar.gz", "*.rootfs.tar.zst", "*.tar.gz"):
        if paths := list((built.out / name).glob(pattern)):
            return paths
    raise AssertionError(f"no archive of {name} in {built.out}")


def _version(built: Built) -> str:
    inputs = json.loads((built.out / "manifest.json").read_text())["inputs"]
    versions = [str(one["version"]) for one in inputs if one["name"].startswith("etcd")]
    return versions[0].partition("-")[0]


def _hosts(text: str) -> set[str]:
    lines = (line.split("#")[0].split() for line in text.splitlines())
    return {f"{words[0]} {name}" for words in lines if words for name in words[1:]}


def _configuration(config: Mapping[str, Any]) -> Facts:
    found: Facts = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= {f"conf {key}.{name}": one for name, one in value.items()}
        else:
            found[f"conf {key}"] = set(value.split(",")) if key in _URLS else value
    found["compaction"] = f"{config['auto-compaction-mode']} {_hours(config['auto-compaction-retention'])}"
    return found


def _hours(retention: str) -> str:
    """Return a retention in one way of writing it: `1` in the periodic mode is hours."""
    return retention if retention.endswith(("h", "m", "s")) else f"{retention}h"


def _variables(title: str, text: str) -> Facts:
    pairs = re.findall(r"^\s*(?:export )?([A-Za-z_]+)=(.*)$", text, re.MULTILINE)
    found: Facts = {f"{title} {name}": "".join(shlex.split(value)) for name, value in pairs}
    if endpoints := found.get(f"{title} ETCDCTL_ENDPOINTS"):
        found[f"{title} ETCDCTL_ENDPOINTS"] = set(endpoints.split(","))
    return found


def _certificate(title: str, root: Path, path: str, epoch: int) -> Facts:
    certificate = x509.load_pem_x509_certificate((root / path.lstrip("/")).read_bytes())
    key = certificate.public_key()
    found: Facts = {
        f"{title} subject": {
            f"{_SHORT[one.oid._name]}={one.value!s}"  # cryptography has no public way to the name
            for one in certificate.subject
        },
        f"{title} key": f"rsa {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__,
        f"{title} days": round((certificate.not_valid_after_utc.timestamp() - epoch) / DAY),
    }
    extensions = certificate.extensions
    names = [one.value for one in extensions if isinstance(one.value, x509.SubjectAlternativeName)]
    found[f"{title} names"] = {str(one.value) for value in names for one in value}
    if title != "ca":
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        keys = extensions.get_extension_for_class(x509.KeyUsage).value
        found[f"{title} usages"] = {one._name for one in uses}
        found[f"{title} usages"] |= {"keyEncipherment"} if keys.key_encipherment else set()
        found[f"{title} usages"] |= {"digitalSignature"} if keys.digital_signature else set()
    return found


def _service(root: Path, found: Facts) -> Facts:
    if (root / UNIT.format("etcd")).exists():
        return _unit("unit", root / UNIT.format("etcd"))
    assert "etc/init.d/etcd" in found["files"]
    service = _variables("conf.d", (root / "etc/conf.d/etcd").read_text())
    return service | _variables("init.d", (root / "etc/init.d/etcd").read_text())


def _unit(title: str, path: Path) -> Facts:
    sections = read_unit(path.read_text()).values()
    pairs = [(key, values) for section in sections for key, values in section.items()]
    return {
        f"{title} {key}": set(" ".join(values).split()) if key in _LISTS else values[-1]
        for key, values in pairs
        if values
    }


def _flannel(root: Path, epoch: int) -> Facts:
    if not (root / "etc/nodebake/flannel").exists():
        return {}
    found = _variables("flannel", (root / "etc/nodebake/flannel").read_text())
    script = (root / "usr/local/lib/nodebake/flannel-run").read_text()
    found |= {
        "flannel CONFIG": json.loads(found["flannel CONFIG"]),
        "flannel ENDPOINTS": set(found["flannel ENDPOINTS"].split(",")),
        "flannel flags": set(re.findall(r"--[a-z-]+", script)),
    }
    found |= _certificate("flannel", root, found["flannel CERT"], epoch)
    return found | _unit("flannel unit", root / UNIT.format("flanneld"))
