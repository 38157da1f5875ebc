"""Publishing to a bucket: a server that speaks S3, large blobs in parts, and what it says when it fails."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodebake import pipeline
from nodebake.errors import BuildError, InputError, SafetyError, UsageError
from nodebake.progress import Silent
from nodebake.publish import Pull, Push, Sent, opened, publish, pull
from nodebake.publish.place import blob
from tests import buckets
from tests.registry import certificate
from tests.unit import inputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.manifest import Manifest
    from tests.buckets import Server

MIB = 1 << 20


def send(server: Server, out: Path, name: str, *, force: bool = False) -> Sent:
    """Publish the build in `out`, for everybody."""
    with opened(f"s3://nodes/{name}", "--to", server.ca) as place:
        return publish(place, Push(out=out, plaintext=True, force=force), Silent())


def get(server: Server, name: str, out: Path, node: str) -> None:
    """Pull a node into `out`."""
    with opened(f"s3://nodes/{name}", "--from", server.ca) as place:
        pull(place, Pull(out=out, builds=out.parent, node=node), Silent())


def objects(server: Server, name: str) -> set[str]:
    """Return the keys of all objects below a prefix."""
    found = server.client().list_objects_v2(Bucket="nodes", Prefix=f"{name}/")
    return {one["Key"] for one in found.get("Contents", ())}


def only(out: Path, manifest: Manifest, node: str) -> None:
    """Leave one node in a build's manifest: moto takes its time for every object."""
    (out / "manifest.json").write_text(replace(manifest, nodes={node: manifest.nodes[node]}).to_json())


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a build."""
    directory = tmp_path_factory.mktemp("build")
    inputs.profile(directory, "alpine", "[apkovl]")
    plan = pipeline.resolve(str(directory / "edge.yaml"))
    manifest = pipeline.build(plan, options=inputs.options(directory), progress=Silent(), ask=None)
    only(directory / "out", manifest, "x-1")
    return directory / "out"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a running server."""
    with buckets.serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(autouse=True)
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return a server that the environment names, with a bucket."""
    buckets.known(monkeypatch, running)
    client = running.client()
    client.create_bucket(Bucket="nodes")
    client.close()
    return running


def test_a_bucket_gives_back_what_was_built(server: Server, out: Path, tmp_path: Path) -> None:
    """A node's file comes back bit for bit; what is there already is not sent again."""
    send(server, out, "edge/one")
    get(server, "edge/one", tmp_path / "pulled", "x-1")
    file = "x-1/x-1.apkovl.tar.gz"
    assert (tmp_path / "pulled" / file).read_bytes() == (out / file).read_bytes()
    assert send(server, out, "edge/one").size == 0


def test_the_index_is_the_last_object(server: Server, out: Path) -> None:
    """All that it names is there before it is."""
    server.got.clear()
    send(server, out, "edge/last")
    assert [path for path, _ in server.got][-1] == "/nodes/edge/last/index.json"


def test_a_large_blob_goes_on_with_the_parts_that_are_there(server: Server, tmp_path: Path) -> None:
    """An upload that was interrupted is ended; only the parts that are missing are sent."""
    content = tmp_path / "large"
    content.write_bytes(hashlib.shake_128(b"large").digest(20 * MIB))
    made = blob("application/octet-stream", content)
    name = f"edge/parts/blobs/sha256/{made.hex}"
    client = server.client()
    upload = client.create_multipart_upload(Bucket="nodes", Key=name)["UploadId"]
    first = {"Bucket": "nodes", "Key": name, "UploadId": upload, "PartNumber": 1}
    client.upload_part(**first, Body=content.read_bytes()[: 8 * MIB])
    server.got.clear()
    with opened("s3://nodes/edge/parts", "--to", server.ca) as place:
        place.put(made, content)
        assert place.has(made)
        got = hashlib.sha256(b"".join(place.read(made))).hexdigest()
    assert (got, [size for _, size in server.got]) == (made.hex, [8 * MIB, 4 * MIB])
    assert not client.list_multipart_uploads(Bucket="nodes").get("Uploads")
    client.close()


def test_another_publication_is_replaced_only_by_force_and_is_gone_then(
    server: Server, out: Path, tmp_path: Path
) -> None:
    """Without --force nothing changes; with it, no object of the one before is left."""
    other = Path(shutil.copytree(out.parent, tmp_path / "other"))
    plan = pipeline.resolve(str(other / "edge.yaml"))
    only(
        other / "out", pipeline.build(plan, options=inputs.options(other), progress=Silent(), ask=None), "x-2"
    )
    send(server, out, "edge/taken")
    before = objects(server, "edge/taken")
    with pytest.raises(SafetyError, match="--force"):
        send(server, other / "out", "edge/taken")
    assert objects(server, "edge/taken") == before
    send(server, other / "out", "edge/taken", force=True)
    own = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / ".published").iterdir()}
    assert not own & {name.rpartition("/")[2] for name in objects(server, "edge/taken")}


def test_other_bytes_in_a_bucket_are_caught(server: Server, out: Path, tmp_path: Path) -> None:
    """An object that changed has another digest, which is named."""
    send(server, out, "edge/changed")
    own = next(iter((out / ".published").iterdir())).read_bytes()
    digest = hashlib.sha256(own).hexdigest()
    client = server.client()
    client.put_object(Bucket="nodes", Key=f"edge/changed/blobs/sha256/{digest}", Body=bytes(len(own)))
    client.close()
    with opened("s3://nodes/edge/changed", "--from", server.ca) as place:
        wanted = Pull(out=tmp_path / "pulled", builds=tmp_path)
        with pytest.raises(InputError, match=f"sha256:{digest}: what came has another digest"):
            pull(place, wanted, Silent())


def test_a_server_without_room_is_told(server: Server, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own words reach the user, and nothing is published."""
    monkeypatch.setattr(server, "refuse", "XMinioStorageFull")
    with pytest.raises(BuildError, match=r"(?s)XMinioStorageFull, no room.*nothing was published"):
        send(server, out, "edge/full")
    assert objects(server, "edge/full") == set()


def test_a_bucket_that_is_not_there_is_told(server: Server, out: Path) -> None:
    """The server's own word for it reaches the user."""
    with (
        opened("s3://nobodys/edge", "--to", server.ca) as place,
        pytest.raises(BuildError, match=r"(?s)s3://nobodys/edge: the server answers: NoSuchBucket"),
    ):
        publish(place, Push(out=out, plaintext=True), Silent())


def test_an_empty_prefix_has_nothing_to_pull(server: Server, tmp_path: Path) -> None:
    """It says so, and makes no directory."""
    with pytest.raises(UsageError, match="s3://nodes/edge/none: nothing is published there"):
        get(server, "edge/none", tmp_path / "pulled", "")
    assert not (tmp_path / "pulled").exists()


def test_no_credentials_are_told(server: Server, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says where they would be found."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(BuildError, match=r"(?s)no credentials.*AWS_ACCESS_KEY_ID"):
        send(server, out, "edge/denied")


def test_a_server_of_a_wrong_authority_is_told(out: Path, tmp_path: Path) -> None:
    """A certificate of somebody else is not trusted."""
    other, _ = certificate(tmp_path / "other")
    with (
        opened("s3://nodes/edge/untrusted", "--to", other) as place,
        pytest.raises(BuildError, match=r"(?s)the server is not trusted: .*--ca"),
    ):
        publish(place, Push(out=out, plaintext=True), Silent())


def test_a_server_that_is_down_is_told(server: Server, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens: the error names the endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://127.0.0.1:9")
    with pytest.raises(BuildError, match=r"(?s)127\.0\.0\.1:9.*nothing was published"):
        send(server, out, "edge/down")
