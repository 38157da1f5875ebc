"""Publishing to a real registry with TLS and a password, and what it says when something is wrong."""

from __future__ import annotations

import hashlib
import json
import stat
from typing import TYPE_CHECKING

import httpx
import pytest

from nodebake import command, pipeline
from nodebake.errors import BuildError, InputError, SafetyError, UsageError
from nodebake.manifest import Manifest
from nodebake.progress import Silent
from nodebake.publish import Pull, Push, Sent, opened, publish, pull
from nodebake.publish.credentials import Auth, Login
from tests.need import need, need_root
from tests.registry import PASSWORD, USER, Server, certificate, log_in, registry
from tests.unit import inputs
from tests.unit.test_pipeline import contents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Stopping(Silent):
    """A listener that ends the program after some bytes were sent, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self._left = after

    def advance(self, task: str, units: int = 1) -> None:
        """End it when enough was sent."""
        self._left -= units if task.startswith("publishing") else 0
        if self._left < 0:
            raise KeyboardInterrupt


def send(
    server: Server, out: Path, name: str, *, force: bool = False, progress: Silent | None = None
) -> Sent:
    """Publish the build in `out`, for everybody."""
    with opened(f"oci://{server.host}/{name}", "--to", server.ca) as place:
        return publish(place, Push(out=out, plaintext=True, force=force), progress or Silent())


def get(server: Server, name: str, out: Path, node: str = "") -> Manifest:
    """Pull what is published into `out`."""
    with opened(f"oci://{server.host}/{name}", "--from", server.ca) as place:
        return pull(place, Pull(out=out, builds=out.parent, node=node), Silent())[1]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a build."""
    directory = tmp_path_factory.mktemp("build")
    inputs.profile(directory, "debian", "[nocloud]")
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    pipeline.build(plan, options=inputs.options(directory), progress=Silent(), ask=None)
    return directory / "out"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a running registry."""
    directory = tmp_path_factory.mktemp("registry")
    with registry(directory, directory / "storage") as running:
        yield running


@pytest.fixture(autouse=True)
def docker(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have Docker's configuration know the registry's password; return the configuration's directory."""
    directory = log_in(tmp_path / "docker", server.host)
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    return directory


def test_a_registry_gives_back_what_was_built(server: Server, out: Path, tmp_path: Path) -> None:
    """A node's files come back bit for bit; what is there already is not sent again."""
    first = send(server, out, "edge/all:1")
    get(server, "edge/all:1", tmp_path / "pulled", "x-2")
    assert contents(tmp_path / "pulled" / "x-2") == contents(out / "x-2")
    assert (send(server, out, "edge/all:1").size, first.size > 1 << 19) == (0, True)
    assert send(server, out, "edge/all:2").size < first.size / 100


def test_another_tool_reads_the_registry(server: Server, out: Path, docker: Path) -> None:
    """Skopeo finds the index under the tag: a manifest for every node, and one for the build."""
    send(server, out, "edge/read:1")
    skopeo = [need("skopeo", package="skopeo"), "inspect", "--raw", "--tls-verify=false"]
    argv = [*skopeo, "--authfile", str(docker / "config.json"), f"docker://{server.host}/edge/read:1"]
    index = json.loads(command.run(argv))
    names = [one["annotations"]["org.opencontainers.image.ref.name"] for one in index["manifests"]]
    assert names == ["build", "x-1", "x-2", "x-3", "y-1"]


def test_a_digest_names_a_publication_for_good(server: Server, out: Path, tmp_path: Path) -> None:
    """What is pulled by digest is that, whatever its tag became; nothing can be published to one."""
    send(server, out, "edge/pinned:1")
    with opened(f"oci://{server.host}/edge/pinned:1", "--from", server.ca) as place:
        index = place.index() or b""
    digest = hashlib.sha256(index).hexdigest()
    get(server, f"edge/pinned@sha256:{digest}", tmp_path / "pulled", "y-1")
    assert contents(tmp_path / "pulled" / "y-1") == contents(out / "y-1")
    with pytest.raises(UsageError, match="a tag, not a digest"):
        send(server, out, f"edge/pinned@sha256:{digest}")


def test_a_credential_helper_is_asked(
    server: Server, out: Path, docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With credHelpers, name and password come from docker-credential-*."""
    helper = docker / "docker-credential-tests"
    told = json.dumps({"ServerURL": server.host, "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{told}'\n")
    helper.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{docker}:/usr/bin:/bin")
    (docker / "config.json").write_text(json.dumps({"credHelpers": {server.host: "tests"}}))
    assert send(server, out, "edge/helped:1").new


def test_a_wrong_password_is_told(server: Server, out: Path, docker: Path) -> None:
    """The error names the registry, the user and the way out, not the password."""
    log_in(docker, server.host, "sesame")
    with pytest.raises(
        BuildError, match=rf"(?s){server.host} refuses the user baker.*docker login"
    ) as caught:
        send(server, out, "edge/denied:1")
    assert (caught.value.exit_code, "sesame" in str(caught.value)) == (1, False)


def test_no_password_is_told(server: Server, out: Path, docker: Path) -> None:
    """Who is not logged in is told how to be."""
    (docker / "config.json").write_text("{}")
    with pytest.raises(BuildError, match=rf"(?s)asks who you are.*docker login {server.host}"):
        send(server, out, "edge/denied:1")


def test_a_wrong_authority_is_told(server: Server, out: Path, tmp_path: Path) -> None:
    """A certificate of somebody else, or none at all, is not trusted, and nothing is sent."""
    other, _ = certificate(tmp_path / "other")
    for ca in (other, None):
        with (
            opened(f"oci://{server.host}/edge/untrusted:1", "--to", ca) as place,
            pytest.raises(BuildError, match=r"(?s)is not trusted: .*--ca"),
        ):
            publish(place, Push(out=out, plaintext=True), Silent())


def test_a_registry_that_is_down_is_told(out: Path, tmp_path: Path) -> None:
    """Nobody listens: publishing ends with 1, pulling with 3, both name the registry."""
    down = r"(?s)127\.0\.0\.1:9 could not be reached"
    with opened("oci+http://127.0.0.1:9/edge/down:1", "--to") as place:
        with pytest.raises(BuildError, match=f"{down}.*nothing was published"):
            publish(place, Push(out=out, plaintext=True), Silent())
        with pytest.raises(InputError, match=down):
            pull(place, Pull(out=tmp_path / "pulled", builds=tmp_path), Silent())


def test_a_tag_that_exists_stays(server: Server, out: Path, tmp_path: Path) -> None:
    """Another build under the same tag is refused without --force, and replaces it with it."""
    send(server, out, "edge/taken:1")
    manifest = Manifest.from_json((out / "manifest.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for item in manifest.nodes["x-1"]:
        (other / item.path).parent.mkdir(exist_ok=True)
        (other / item.path).write_bytes((out / item.path).read_bytes())
    smaller = Manifest(
        profile=manifest.profile,
        cluster=manifest.cluster,
        epoch=manifest.epoch,
        inputs=(),
        nodes={"x-1": manifest.nodes["x-1"]},
        operator=(),
    )
    (other / "manifest.json").write_text(smaller.to_json())
    with pytest.raises(SafetyError, match=r"(?s)edge/taken:1: there is another publication.*--force"):
        send(server, other, "edge/taken:1")
    assert list(get(server, "edge/taken:1", tmp_path / "before", "x-1").nodes) == list(manifest.nodes)
    send(server, other, "edge/taken:1", force=True)
    assert list(get(server, "edge/taken:1", tmp_path / "after").nodes) == ["x-1"]


def test_an_interrupted_push_goes_on_where_it_was(server: Server, out: Path, tmp_path: Path) -> None:
    """Killed halfway, there is no tag; the next push sends the other half."""
    with pytest.raises(KeyboardInterrupt):
        send(server, out, "edge/halved:1", progress=Stopping(1 << 19))
    with pytest.raises(UsageError, match="nothing is published"):
        get(server, "edge/halved:1", tmp_path / "pulled")
    done = send(server, out, "edge/halved:1")
    assert done.whole - done.size >= 1 << 19
    get(server, "edge/halved:1", tmp_path / "pulled", "x-3")
    assert contents(tmp_path / "pulled" / "x-3") == contents(out / "x-3")


def test_a_registry_that_gives_other_bytes_is_caught(server: Server, out: Path, tmp_path: Path) -> None:
    """A blob that changed where it is stored has another digest, which is named; no file is made of it."""
    send(server, out, "edge/changed:1")
    own = next(iter((out / ".published").iterdir()))
    digest = hashlib.sha256(own.read_bytes()).hexdigest()
    stored = server.blob(digest)
    good = stored.read_bytes()
    stored.write_bytes(bytes(len(good)))
    try:
        with pytest.raises(InputError, match=rf"sha256:{digest}: what came has another digest"):
            get(server, "edge/changed:1", tmp_path / "pulled")
    finally:
        stored.write_bytes(good)
    assert not (tmp_path / "pulled/manifest.json").exists()


def test_a_registry_without_room_is_told(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's own words reach the user, and the tag is not there."""
    need_root()
    storage = tmp_path / "small"
    storage.mkdir()
    command.run([need("mount", package="mount"), "-t", "tmpfs", "-o", "size=300k", "none", storage])
    try:
        with registry(tmp_path / "registry", storage) as server:
            monkeypatch.setenv("DOCKER_CONFIG", str(log_in(tmp_path / "docker", server.host)))
            with pytest.raises(BuildError, match=r"(?s)the registry answers: .*nothing was published"):
                send(server, out, "edge/full:1")
            with pytest.raises(UsageError, match="nothing is published"):
                get(server, "edge/full:1", tmp_path / "pulled")
    finally:
        command.run([need("umount", package="mount"), storage])


def test_a_bearer_token_is_asked_for_where_the_challenge_says() -> None:
    """Realm, service and scope of a challenge lead to a token, which is then sent; Docker Hub's way."""
    seen: list[tuple[str, str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        told = request.headers.get("Authorization", "")
        seen.append((request.method, str(request.url), told.partition(" ")[0]))
        if request.url.host == "auth.example":
            return httpx.Response(200, json={"token": "t0ken"})
        if told == "Bearer t0ken":
            return httpx.Response(200)
        scope = "repository:a/b:pull,push"
        asked = f'Bearer realm="https://auth.example/token",service="registry",scope="{scope}"'
        return httpx.Response(401, headers={"WWW-Authenticate": asked})

    auth = Auth(Login(name=USER, password=PASSWORD))
    with httpx.Client(auth=auth, transport=httpx.MockTransport(answer)) as client:
        assert client.get("https://registry.example/v2/").status_code == 200
        client.get("https://registry.example/v2/")
    realm = "https://auth.example/token?service=registry&scope=repository%3Aa%2Fb%3Apull%2Cpush"
    registry = "https://registry.example/v2/"
    assert seen == [
        ("GET", registry, ""),
        ("GET", realm, "Basic"),
        ("GET", registry, "Bearer"),
        ("GET", registry, "Bearer"),
    ]
