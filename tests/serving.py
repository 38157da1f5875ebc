"""A web server on the loopback for tests, with every fault that a download can meet."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True, kw_only=True)
class Page:
    """What a path answers.

    Attributes:
        body: the whole file.
        statuses: answered first, one per request, instead of the file.
        drops: after how many bytes of the answer to drop the connection, one per request.
        ranges: honour Range.
        tagged: send an ETag, and honour If-Range.
        delay: seconds before each 64 KiB.
        asked: Range headers seen, empty where there was none.
    """

    body: bytes
    statuses: list[int] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)
    ranges: bool = True
    tagged: bool = True
    delay: float = 0
    asked: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running server: its URL without a slash at the end, and its pages by path."""

    url: str
    pages: dict[str, Page]


@contextmanager
def serving() -> Iterator[Site]:
    """Run a server until the end of the block."""
    pages: dict[str, Page] = {}

    class Handler(_Handler):
        site = pages

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield Site(url=f"http://127.0.0.1:{server.server_address[1]}", pages=pages)
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    site: dict[str, Page]

    def do_GET(self) -> None:
        page = self.site.get(self.path)
        if page is None:
            self.send_error(404)
            return
        page.asked.append(self.headers.get("Range", ""))
        if page.statuses:
            self.send_error(page.statuses.pop(0))
            return
        tag = f'"{hashlib.sha256(page.body).hexdigest()}"' if page.tagged else ""
        start = self._start(page, tag)
        if start >= len(page.body) > 0:
            self.send_error(416)
            return
        self._answer(page, start, tag)

    def _start(self, page: Page, tag: str) -> int:
        wanted, same = self.headers.get("Range", ""), self.headers.get("If-Range", tag)
        honoured = wanted and page.ranges and same == tag
        return int(wanted.removeprefix("bytes=").rstrip("-")) if honoured else 0

    def _answer(self, page: Page, start: int, tag: str) -> None:
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(page.body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        body = page.body[start:]
        if page.drops:
            body = body[: page.drops.pop(0)]
            self.close_connection = True
        with suppress(ConnectionError):
            for at in range(0, len(body), 1 << 16):
                time.sleep(page.delay)
                self.wfile.write(body[at : at + (1 << 16)])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Keep quiet."""
