"""A directory, `file:///DIR`: an OCI image layout, to copy to a stick or to serve as it is.

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake.formats.writing import PART
from nodebake.publish.place import Blob, Content, PlaceError, chunks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

INDEX, LAYOUT = "index.json", "oci-layout"
VERSION = b'{"imageLayoutVersion":"1.0.0"}'


def key(blob: Blob) -> str:
    """Return where a layout has a blob, manifests too."""
    return f"blobs/sha256/{blob.hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A publication in a directory."""

    directory: Path

    @property
    def name(self) -> str:
        """Return what the user calls it."""
        return str(self.directory)

    def index(self) -> bytes | None:
        """Return the index; None where nothing is published."""
        with self._told():
            try:
                return (self.directory / INDEX).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def has(self, blob: Blob) -> bool:
        """Return whether the blob is there, whole: it gets its name only then."""
        path = self.directory / key(blob)
        with self._told():
            return path.exists() and path.stat().st_size == blob.size

    def put(self, blob: Blob, content: Content) -> None:
        """Store a blob under its name once it is on the disk."""
        self._write(key(blob), chunks(content))

    def read(self, blob: Blob) -> Iterator[bytes]:
        """Yield what a blob holds."""
        with self._told():
            yield from chunks(self.directory / key(blob))

    def finish(self, index: bytes) -> None:
        """Publish: the index last, and all before it on the disk."""
        self._write(LAYOUT, [VERSION])
        self._write(INDEX, [index])

    def clean(self, blobs: Collection[Blob]) -> None:
        """Remove every blob but these."""
        keep = {blob.hex for blob in blobs}
        with self._told():
            for path in (self.directory / "blobs/sha256").iterdir():
                if path.name not in keep:
                    path.unlink()

    def _write(self, name: str, content: Iterable[bytes]) -> None:
        path = self.directory / name
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Several blobs are written at once, so each has a name of its own before it is whole.
            new = path.with_name(f"{PART}{os.getpid()}-{path.name}")
            try:
                with new.open("wb") as file:
                    file.writelines(content)
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(path)
            finally:
                new.unlink(missing_ok=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PlaceError(f"{self.directory}: {error.strerror}") from error
