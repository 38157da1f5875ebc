"""Download over HTTP: resume, retry, check; a file has its name only once it is whole and verified."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import httpx

from nodebake.errors import InputError
from nodebake.sources.cache import digest, mismatch

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nodebake.progress import Progress

# Identity, so that lengths and ranges are of the file itself.
HEADERS = {"User-Agent": "nodebake", "Accept-Encoding": "identity"}
FILE_LIMIT = 512 << 20
CONNECT_SECONDS = 10.0
T = TypeVar("T")


class UnreachableError(Exception):
    """A source could not give a file; the text says which and why, for the user.

    This never leaves the room: it leads to the next source, or becomes an `InputError`.
    """


class _AgainError(Exception):
    """A fault that may pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloader:
    """How to download.

    Attributes:
        progress: is told of every file.
        pauses: seconds before each new attempt; their number bounds the attempts.
        timeout: seconds without a byte before an attempt is given up.
    """

    progress: Progress
    pauses: tuple[float, ...] = (0.5, 1, 2, 4)
    timeout: float = 20

    def save(self, url: str, to: Path, *, sha256: str, size: int | None = None) -> None:
        """Download `url` to the file `to`, going on from `<to>.part` if an earlier try left one.

        Args:
            url: http or https.
            to: the file to make; its directory exists.
            sha256: the hash it must have.
            size: the bytes it must have, if that is known.

        Raises:
            UnreachableError: it could not be had.
            InputError: it came, and is not the file that it must be.
        """
        part = to.with_name(f"{to.name}.part")
        resumed = part.exists()
        self._complete(url, part, to.name, size)
        got = digest(part)
        if got != sha256 and resumed:
            # What an earlier build left may be of another file: only a whole download is evidence.
            part.unlink()
            self._complete(url, part, to.name, size)
            got = digest(part)
        if got != sha256:
            part.unlink()
            todo = "what its source has now is not the pinned file: try again later, or use --mirror"
            raise mismatch(url, expected=sha256, got=got, todo=todo)
        part.replace(to)

    def read(self, url: str, *, limit: int) -> bytes:
        """Return the bytes of a small file.

        Raises:
            UnreachableError: it could not be had, or has more than `limit` bytes.
        """

        def attempt() -> bytes:
            body = bytearray()
            with _get(url, {}, self.timeout) as response:
                for block in response.iter_raw():
                    body += block
                    if len(body) > limit:
                        raise UnreachableError(f"{url} has more than {limit} bytes")
            return bytes(body)

        return self._retry(url, attempt)

    def _complete(self, url: str, part: Path, task: str, size: int | None) -> None:
        transfer = _Transfer(url, part, size, self.timeout)
        try:
            self._retry(url, lambda: transfer.attempt(self.progress, task))
        finally:
            if transfer.begun:
                self.progress.finish(task)

    def _retry(self, url: str, attempt: Callable[[], T]) -> T:
        host = urlsplit(url).hostname or url
        for pause in (*self.pauses, None):
            try:
                return attempt()
            except httpx.ConnectError as error:
                if _unresolved(error):
                    raise UnreachableError(f"{host} could not be reached (name does not resolve)") from error
                why = f"{host} could not be reached ({error})"
            except httpx.ConnectTimeout as error:
                raise UnreachableError(f"{host} could not be reached (no answer)") from error
            except (httpx.HTTPError, _AgainError) as error:
                why = f"{url} could not be had ({error or type(error).__name__})"
            if pause is None:
                break
            time.sleep(pause)
        raise UnreachableError(why)


class _Transfer:
    """One file on its way into its `.part`, over as many attempts as it takes."""

    def __init__(self, url: str, part: Path, size: int | None, timeout: float) -> None:
        self._url, self._part, self._size, self._timeout = url, part, size, timeout
        self._limit = FILE_LIMIT if size is None else size
        self._tag = ""
        self.begun = False

    def attempt(self, progress: Progress, task: str) -> None:
        """Go on from where the part ends."""
        have = self._part.stat().st_size if self._part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and self._tag:
            headers["If-Range"] = self._tag
        with _get(self._url, headers, self._timeout) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._part.unlink(missing_ok=True)
                raise _AgainError(f"{have} bytes came, and the server has no more")
            self._tag = _validator(response)
            have = have if _continues(response, have) else 0
            if not self.begun:
                self.begun = True
                length = str(response.headers.get("Content-Length", ""))
                progress.start(task, have + int(length) if length.isdigit() else self._size)
                progress.advance(task, have)
            have = self._write(response, have, lambda units: progress.advance(task, units))
        if self._size is not None and have < self._size:
            raise _AgainError(f"{have} of {self._size} bytes came")

    def _write(self, response: httpx.Response, have: int, advance: Callable[[int], None]) -> int:
        with self._part.open("ab" if have else "wb") as file:
            for block in response.iter_raw():
                have += len(block)
                if have > self._limit:
                    raise InputError(f"{self._url}: is longer than the {self._limit} bytes it may have")
                file.write(block)
                advance(len(block))
        return have


@cache
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context()


@contextmanager
def _get(url: str, headers: dict[str, str], timeout: float) -> Iterator[httpx.Response]:
    with httpx.stream(
        "GET",
        url,
        headers=HEADERS | headers,
        timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
        follow_redirects=True,
        verify=_trust(),
    ) as response:
        status = response.status_code
        if response.is_server_error or status in {408, 429}:
            raise _AgainError(f"HTTP {status}")
        if response.is_error and status != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise UnreachableError(f"{url} could not be had (HTTP {status})")
        yield response


def _continues(response: httpx.Response, have: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-")


def _validator(response: httpx.Response) -> str:
    # A weak tag does not promise the same bytes (RFC 9110, 13.1.5).
    tag = str(response.headers.get("ETag", ""))
    return tag if tag.startswith('"') else ""


def _unresolved(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False
