"""Who we are to a registry: what `docker login` left, in Docker's configuration or a credential helper."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from nodebake.publish.place import PlaceError

if TYPE_CHECKING:
    from collections.abc import Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A name and a password, or a token in place of a password; empty for nobody."""

    name: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The header for name and password; empty without them."""
        if not self.name:
            return ""
        return "Basic " + base64.b64encode(f"{self.name}:{self.password}".encode()).decode()


def login(host: str) -> Login:
    """Return what Docker's configuration has for the registry `host`.

    The configuration is `config.json` in DOCKER_CONFIG or ~/.docker, as for the docker command.

    Raises:
        PlaceError: the configuration or its helper does not work.
    """
    from docker import auth  # noqa: PLC0415 - slow to import
    from docker.errors import DockerException  # noqa: PLC0415 - the same

    try:
        found: dict[str, Any] = auth.load_config().resolve_authconfig(host) or {}
    except (DockerException, ValueError, OSError) as error:
        raise PlaceError(
            f"Docker's configuration has no usable credentials for {host}: {error}",
            hint=f"run docker login {host} again",
        ) from error
    told = {key.lower(): str(value) for key, value in found.items() if value}
    return Login(
        name=told.get("username", ""),
        password=told.get("password", ""),
        token=told.get("identitytoken", ""),
    )


class Auth(httpx.Auth):
    """Answers a registry's challenges, Basic and Bearer.

    https://distribution.github.io/distribution/spec/auth/token/
    """

    def __init__(self, login: Login) -> None:
        self._login, self._header = login, ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request; when it is refused, get what it takes, and send it again."""
        if self._header:
            request.headers["Authorization"] = self._header
        response = yield request
        if response.status_code != httpx.codes.UNAUTHORIZED:
            return
        scheme, asked = _challenge(response.headers.get("WWW-Authenticate", ""))
        if scheme == "bearer" and "realm" in asked:
            answer = yield self._ask(asked)
            answer.read()
            if answer.is_error:
                return
            self._header = f"Bearer {_token(answer)}"
        elif scheme == "basic" and self._login.basic and not self._header:
            self._header = self._login.basic
        else:
            return
        request.headers["Authorization"] = self._header
        yield request

    def _ask(self, asked: dict[str, str]) -> httpx.Request:
        told: dict[str, str] = {key: asked[key] for key in ("service", "scope") if key in asked}
        if self._login.token:
            form = {**told, "grant_type": "refresh_token", "client_id": "nodebake"}
            return httpx.Request("POST", asked["realm"], data={**form, "refresh_token": self._login.token})
        headers = {"Authorization": self._login.basic} if self._login.basic else {}
        return httpx.Request("GET", asked["realm"], params=told, headers=headers)


def _challenge(header: str) -> tuple[str, dict[str, str]]:
    """Return the scheme and the parameters of a challenge."""
    from urllib.request import parse_http_list, parse_keqv_list  # noqa: PLC0415 - only when asked

    scheme, _, rest = header.partition(" ")
    pairs = [pair for pair in parse_http_list(rest) if "=" in pair]
    return scheme.lower(), parse_keqv_list(pairs)


def _token(answer: httpx.Response) -> str:
    try:
        told = answer.json()
        return str(told.get("token") or told["access_token"])
    except (ValueError, KeyError, AttributeError) as error:
        raise PlaceError(f"{answer.request.url.host} gave no token: {error}") from error
