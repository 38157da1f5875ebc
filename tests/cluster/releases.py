"""Further real releases of etcd, which the product's own lock file does not lead to here."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from nodebake.errors import NodebakeError
from nodebake.sources import golang
from nodebake.sources.cache import Cache
from nodebake.sources.recipe import Module, Recipe
from tests.need import CACHE, ROOT, missing, need_go

if TYPE_CHECKING:
    from pathlib import Path

FROM_DEBIAN_12 = "3.4.23"
FROM_SOURCE = "3.5.33"
GO = "1.26.8"
# As Go's module proxy has them; client/v2 has versions of its own.
SUMS = {
    "api": ("api/v3", FROM_SOURCE, "mUYXLPBlddsrnoJClluMOvUiamVfkHZrpjcGn0P/E7A="),
    "client/pkg": ("client/pkg/v3", FROM_SOURCE, "x9J84BdbVtb+47fQFsXniTA2sZEdy9S5+dQ9q5urpqM="),
    "client/v2": ("client/v2", "2.305.33", "cgnmUT79NRRF6IsjEqwZhGik/uv/+Ixqgk9uHtW/2gw="),
    "client/v3": ("client/v3", FROM_SOURCE, "Et6+4ObesJXc/MRMopKJn9/gM+gQiDl+tQvjC+vjoNE="),
    "etcdctl": ("etcdctl/v3", FROM_SOURCE, "jaCQgAXCcxxz6Y+uFyf7ma3mHTd+lgQTpomCtEcGBzA="),
    "etcdutl": ("etcdutl/v3", FROM_SOURCE, "ywS1HRc3lvVbQmwJGiVFfg9hDhDZ3fmXWdIgN9UTHCU="),
    "pkg": ("pkg/v3", FROM_SOURCE, "06Ru+uKLw2faMRb7UmVblEO10WrHa4xnrQCkbRsqhHU="),
    "raft": ("raft/v3", FROM_SOURCE, "A8kQe4LDeN2ptt3hbZYcYb8xrcjbHdKlRtb9ZBel9N4="),
    "server": ("server/v3", FROM_SOURCE, "8zTUdTDKckuzOfvfsqkyV2ccjLPWirwuY7+d7xXLnD4="),
}


def from_debian_12(directory: Path) -> Path:
    """Return a lock file by which 3.4.23 comes from Debian 12, and from nowhere else."""
    text = (ROOT / "sources.lock").read_text().replace('suite = "trixie"', 'suite = "bookworm"')
    text = text.replace("https://github.com/etcd-io/", "http://etcd.invalid/")
    text += f'\n[etcd.releases."{FROM_DEBIAN_12}"]\nsha256.x86_64 = "{"0" * 64}"\n'
    return _written(directory, text + 'confidence = "C"\nconfirmed = false\n')


def from_source(directory: Path) -> Path:
    """Return a lock file by which 3.5.33 is what Go makes of its source; that is in the cache."""
    name = f"etcd-{FROM_SOURCE}-x86_64-go{GO}.tar"
    path = Cache(CACHE).archive(name)
    if not path.exists():
        need_go()
        modules = {
            place: Module(path=f"go.etcd.io/etcd/{path}", version=version, h1=f"h1:{sum_}")
            for place, (path, version, sum_) in SUMS.items()
        }
        programs = {"etcd": "server", "etcdctl": "etcdctl"}
        recipe = Recipe(go=GO, modules=modules, programs=programs, ldflags="", cut={})
        try:
            Cache(CACHE).keep(name, golang.build(recipe, "x86_64", name="etcd for a test"))
        except NodebakeError as error:
            missing(str(error))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    built = f'[etcd.releases."{FROM_SOURCE}".built]\ngo = "{GO}"\nsha256.x86_64 = "{sha256}"\n'
    built += f'modules = {{server = "h1:{SUMS["server"][2]}"}}\n'
    return _written(directory, (ROOT / "sources.lock").read_text() + f"\n{built}")


def _written(directory: Path, text: str) -> Path:
    path = directory / "test.lock"
    path.write_text(text)
    return path
