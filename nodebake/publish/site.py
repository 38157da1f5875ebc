"""A directory that a web server shows, `https://HOST/DIR`: to pull from only."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from nodebake.publish.folder import INDEX, key
from nodebake.publish.place import PlaceError
from nodebake.publish.registry import failed, short, trust

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nodebake.publish.place import Blob


class Site:
    """A publication on a web server."""

    def __init__(self, url: str, *, ca: Path | None) -> None:
        """Take where it is, and the authority of the server's certificate, if it is none of the system's.

        Raises:
            PlaceError: the authority's file cannot be used.
        """
        self.name = url.rstrip("/")
        self._client = httpx.Client(
            headers={"User-Agent": "nodebake", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(60, connect=10),
            follow_redirects=True,
            verify=trust(ca),
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def index(self) -> bytes | None:
        """Return the index; None where nothing is published."""
        with self._get(INDEX) as response:
            return None if response.status_code == httpx.codes.NOT_FOUND else short(response)

    def read(self, blob: Blob) -> Iterator[bytes]:
        """Yield what a blob holds."""
        with self._get(key(blob)) as response:
            if response.is_error:
                raise PlaceError(f"{response.url} is not there")
            yield from response.iter_raw()

    @contextmanager
    def _get(self, name: str) -> Iterator[httpx.Response]:
        try:
            with self._client.stream("GET", f"{self.name}/{name}") as response:
                if response.is_error and response.status_code != httpx.codes.NOT_FOUND:
                    raise PlaceError(f"{response.url}: HTTP {response.status_code}")
                yield response
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise failed(error, self.name) from error
