"""Debian's docker-registry on the loopback for tests, with TLS, a user and a password."""

from __future__ import annotations

import base64
import json
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodebake import command
from tests.need import need

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "baker", "open-sesame"
_HTPASSWD = f"{USER}:$2y$04$tZCjniKIZgldLRfx6XqV..eDlT2zZS39yzKh6zVW.P1Ev848a8Lm6\n"  # bcrypt of PASSWORD


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running registry.

    Attributes:
        host: its address and port.
        ca: the certificate that it is to be trusted by.
        storage: where it keeps what it has.
    """

    host: str
    ca: Path
    storage: Path

    def blob(self, digest: str) -> Path:
        """Return the file of a blob."""
        return self.storage / f"docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"


def log_in(directory: Path, host: str, password: str = PASSWORD) -> Path:
    """Write Docker's configuration with the user's password, and return its directory."""
    directory.mkdir(exist_ok=True)
    told = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (directory / "config.json").write_text(json.dumps({"auths": {host: {"auth": told}}}))
    return directory


def certificate(directory: Path) -> tuple[Path, Path]:
    """Return a new certificate for the loopback, and its key."""
    directory.mkdir(exist_ok=True)
    key, made = directory / "tls.key", directory / "tls.crt"
    argv = [need("openssl", package="openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    argv += ["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=registry"]
    argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    command.run(argv)
    return made, key


@contextmanager
def registry(directory: Path, storage: Path) -> Iterator[Server]:
    """Run a registry that keeps what it has in `storage` until the end of the block."""
    program = need("docker-registry", package="docker-registry")
    made, key = certificate(directory)
    (directory / "htpasswd").write_text(_HTPASSWD)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}},
        "http": {"addr": host, "tls": {"certificate": str(made), "key": str(key)}, "secret": "x"},
        "auth": {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}},
    }
    (directory / "config.yml").write_text(json.dumps(config))
    # Into a file: nobody reads the pipe, and the registry would wait for that.
    argv: list[str | Path] = [
        "sh",
        "-c",
        'exec "$0" serve "$1" >"$2" 2>&1',
        program,
        directory / "config.yml",
        directory / "log",
    ]
    with command.start(argv) as process:
        try:
            _await(host, process)
            yield Server(host=host, ca=made, storage=storage)
        finally:
            process.kill()


def _await(host: str, process: subprocess.Popen[bytes]) -> None:
    address, _, port = host.partition(":")
    while process.poll() is None:
        with suppress(OSError):
            socket.create_connection((address, int(port))).close()
            return
        time.sleep(0.05)
    raise ChildProcessError(f"the registry at {host} has ended")
