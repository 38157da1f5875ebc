"""A registry, `oci://HOST/REPOSITORY:TAG`, as OCI's distribution specification has it.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
"""

from __future__ import annotations

import hashlib
import ssl
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import httpx

from nodebake.publish.credentials import Auth, login
from nodebake.publish.documents import INDEX, MANIFEST
from nodebake.publish.place import Blob, Content, PlaceError, chunks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_SECONDS, _CONNECT = 60.0, 10.0
# Faults that may pass, and the seconds before each new attempt.
_PASSING = {408, 429, 502, 503, 504}
_PAUSES = (0.5, 1, 2)
# Docker Hub answers under another name than it is known by.
_HUB = {"docker.io": "registry-1.docker.io"}
_LONGEST = 4 << 20  # of an index or an error, in bytes


class Registry:
    """A publication in a registry's repository, under a tag or a digest."""

    def __init__(self, host: str, repository: str, reference: str, *, ca: Path | None, plain: bool) -> None:
        """Take where it is.

        Args:
            host: with its port, if it has one of its own.
            repository: its path on the host.
            reference: a tag, or a digest.
            ca: the authority of the registry's certificate, if it is not one of the system's.
            plain: talk without TLS.

        Raises:
            PlaceError: the authority's file or Docker's configuration cannot be used.
        """
        self.name = f"{host}/{repository}{'@' if ':' in reference else ':'}{reference}"
        self._host, self._reference = host, reference
        self._login = login(host)
        with self._told():
            self._client = httpx.Client(
                base_url=f"{'http' if plain else 'https'}://{_HUB.get(host, host)}/v2/{repository}/",
                auth=Auth(self._login),
                headers={"User-Agent": "nodebake", "Accept-Encoding": "identity"},
                timeout=httpx.Timeout(_SECONDS, connect=_CONNECT),
                follow_redirects=True,
                verify=trust(ca),
            )

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def index(self) -> bytes | None:
        """Return the index; None where nothing is published."""
        headers = {"Accept": INDEX}
        with self._ask("GET", f"manifests/{self._reference}", headers=headers, accept={404}) as response:
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            found = short(response)
        asked = self._reference.partition(":")[2]
        if asked and hashlib.sha256(found).hexdigest() != asked:
            raise PlaceError(f"{self.name}: what came has another digest")
        return found

    def has(self, blob: Blob) -> bool:
        """Return whether the blob is there, whole: a registry checks what it gets."""
        with self._ask("HEAD", _path(blob), headers={"Accept": MANIFEST}, accept={404}) as response:
            return response.is_success

    def put(self, blob: Blob, content: Content) -> None:
        """Store a blob: an upload that the registry ends by checking the digest."""
        if blob.is_manifest:
            self._put(_path(blob), blob.media_type, blob.size, content)
            return
        with self._ask("POST", "blobs/uploads/", headers={"Content-Length": "0"}) as response:
            to = httpx.URL(str(response.url.join(response.headers.get("Location", ""))))
        self._put(
            to.copy_merge_params({"digest": blob.digest}), "application/octet-stream", blob.size, content
        )

    def read(self, blob: Blob) -> Iterator[bytes]:
        """Yield what a blob holds."""
        with self._ask("GET", _path(blob), headers={"Accept": MANIFEST}) as response:
            yield from response.iter_raw()

    def finish(self, index: bytes) -> None:
        """Publish: give the index its tag."""
        self._put(f"manifests/{self._reference}", INDEX, len(index), index)

    def clean(self, blobs: Collection[Blob]) -> None:
        """Remove nothing: other tags may need it, and what none does is the registry's to remove."""

    def _put(self, to: str | httpx.URL, media_type: str, size: int, content: Content) -> None:
        headers = {"Content-Type": media_type, "Content-Length": str(size)}
        with self._ask("PUT", to, headers=headers, content=_Body(content)):
            pass

    @contextmanager
    def _ask(
        self,
        method: str,
        to: str | httpx.URL,
        *,
        headers: dict[str, str],
        content: _Body | None = None,
        accept: Collection[int] = (),
    ) -> Iterator[httpx.Response]:
        """Give the answer to a request; a fault that may pass is waited for."""
        with self._told():
            request = self._client.build_request(method, to, headers=headers, content=content)
            with closing(self._answer(request)) as response:
                if response.is_error and response.status_code not in accept:
                    raise self._refused(response)
                yield response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        for pause in _PAUSES:
            try:
                response = self._client.send(request, stream=True)
            except httpx.ConnectError:  # nobody is there, or not whom we trust
                break
            except httpx.TransportError:
                pass
            else:
                if response.status_code not in _PASSING:
                    return response
                response.close()
            time.sleep(pause)
        return self._client.send(request, stream=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise failed(error, self._host) from error

    def _refused(self, response: httpx.Response) -> PlaceError:
        status = response.status_code
        said = _said(response)
        if status == httpx.codes.UNAUTHORIZED and not (self._login.name or self._login.token):
            return PlaceError(
                f"{self._host} asks who you are, and Docker's configuration does not say",
                hint=f"run docker login {self._host}",
            )
        if status == httpx.codes.UNAUTHORIZED:
            return PlaceError(
                f"{self._host} refuses the user {self._login.name or 'of the token'}: {said}",
                hint=f"the password is wrong; run docker login {self._host} again",
            )
        if status == httpx.codes.FORBIDDEN:
            return PlaceError(f"{self.name}: the user may not do that: {said}")
        return PlaceError(f"{self.name}: the registry answers: {said}")


class _Body:
    """What is sent, from its beginning as often as it takes."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        return chunks(self._content)


def _path(blob: Blob) -> str:
    return f"{'manifests' if blob.is_manifest else 'blobs'}/{blob.digest}"


def trust(ca: Path | None) -> ssl.SSLContext:
    """Return whom we trust: the system's authorities, or the one in the file `ca`.

    Raises:
        PlaceError: the file is none.
    """
    if ca is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror if isinstance(error, FileNotFoundError) else f"is no certificate: {error}"
        raise PlaceError(f"--ca {ca}: {why}") from error


def failed(error: Exception, host: str) -> PlaceError:
    """Return the error for a server that was not reached, or is not whom we trust."""
    why = _untrusted(error)
    if why:
        hint = "name the authority of its certificate with --ca FILE"
        return PlaceError(f"{host} is not trusted: {why}", hint=hint)
    return PlaceError(
        f"{host} could not be reached ({error or type(error).__name__})",
        hint="see that it runs, and that its name and port are right",
    )


def _untrusted(error: BaseException | None) -> str:
    """Return why a certificate is not trusted; empty if that is not what is wrong."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return ""


def short(response: httpx.Response) -> bytes:
    """Return what a server answers, which is not much.

    Raises:
        PlaceError: it is more than an index may be.
    """
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > _LONGEST:
            raise PlaceError(f"{response.url} has more than {_LONGEST} bytes")
    return bytes(body)


def _said(response: httpx.Response) -> str:
    """Return what a registry said of an error (specification: error codes)."""
    words = f"HTTP {response.status_code}"
    try:
        response.read()
        errors = response.json()["errors"]
        told = [(one.get("message"), one.get("detail")) for one in errors]
        # A list says which rights are missing, for programs.
        said = [" ".join(str(word) for word in one if word and not isinstance(word, list)) for one in told]
        return f"{words}, {'; '.join(said)}"
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return words
