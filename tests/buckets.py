"""A server on the loopback that speaks S3, for tests: moto's, with TLS, and an account of what it got."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.registry import certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest


@dataclass(slots=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        url: its endpoint.
        ca: the certificate that it is to be trusted by.
        got: bytes of every PUT, by path.
        refuse: answered to every PUT in place of storing it; empty for nothing.
    """

    url: str
    ca: Path
    got: list[tuple[str, int]] = field(default_factory=list)
    refuse: str = ""

    def client(self) -> Any:  # noqa: ANN401 - boto3 has no types
        """Return boto3's client."""
        return boto3.client("s3", endpoint_url=self.url, verify=str(self.ca))


def known(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Have the environment say where the server is, and who we are to it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "baker")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "open-sesame")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@contextmanager
def serving(directory: Path) -> Iterator[Server]:
    """Run a server until the end of the block."""
    made, key = certificate(directory)
    running = Server(url="", ca=made)
    moto = DomainDispatcherApplication(create_backend_app)

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Any:  # noqa: ANN401 - as WSGI has it
        if environ["REQUEST_METHOD"] == "PUT":
            running.got.append((environ["PATH_INFO"], int(environ.get("CONTENT_LENGTH") or 0)))
            if running.refuse:
                # All of it first, or else the client may see a broken connection before it sees the answer.
                environ["wsgi.input"].read(running.got[-1][1])
                start("507 Insufficient Storage", [("Content-Type", "application/xml")])
                return [f"<Error><Code>{running.refuse}</Code><Message>no room</Message></Error>".encode()]
        return moto(environ, start)

    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=(str(made), str(key)))
    running.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
