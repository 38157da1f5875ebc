"""Builds that are published and pulled again: the same bytes, secrets for few, nothing half done."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nodebake import command, pipeline
from nodebake.errors import BuildError, InputError, NodebakeError, SafetyError, UsageError
from nodebake.manifest import Manifest
from nodebake.pki import new_key, public_half
from nodebake.progress import Silent
from nodebake.provenance import sign, verify
from nodebake.publish import Pull, Push, Sent, opened, publish, pull, source
from nodebake.publish import verify as verify_published
from nodebake.vault import signing_key
from tests.need import ROOT, need, need_root
from tests.serving import Page, serving
from tests.unit import inputs
from tests.unit.test_pipeline import contents


def send(out: Path, to: str, *recipients: str, force: bool = False) -> Sent:
    """Publish the build in `out`, for everybody when no recipient is named."""
    wanted = Push(out=out, recipients=recipients, plaintext=not recipients, force=force)
    with opened(to, "--to") as place:
        return publish(place, wanted, Silent())


def get(url: str, out: Path, node: str = "", identity: Path | None = None) -> Manifest:
    """Pull what is published at `url` into `out`."""
    wanted = Pull(out=out, builds=out.parent, node=node, identity=identity)
    with source(url, "--from") as place:
        return pull(place, wanted, Silent())[1]


def key_pair(directory: Path, name: str = "key.txt") -> tuple[Path, str]:
    """Return the file of a private key that age-keygen makes, and its recipient."""
    path = directory / name
    command.run([need("age-keygen", package="age"), "-o", path])
    return path, command.run([need("age-keygen", package="age"), "-y", path]).decode().strip()


def invoke(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ./invoke with these arguments."""
    argv, env = [str(ROOT / "invoke"), *map(str, arguments)], {**os.environ, "NODEBAKE_VENV": sys.prefix}
    return subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - ours


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with builds of three kinds, to look at only."""
    directory = tmp_path_factory.mktemp("first")
    for name, system, outputs in (
        ("nocloud", "debian", "[nocloud, rootfs]"),
        ("apkovl", "alpine", "[apkovl]"),
    ):
        inputs.profile(directory, system, outputs)
        plan = pipeline.resolve(str(directory / "edge.yaml"))
        told = inputs.options(directory, out=directory / name, vault=directory / "vault" / name)
        pipeline.build(plan, options=told, progress=Silent(), ask=None)
    return directory


@pytest.fixture
def out(first: Path, tmp_path: Path) -> Path:
    """Return a build to change."""
    return Path(shutil.copytree(first / "nocloud", tmp_path / "out"))


@pytest.mark.parametrize("kind", ["nocloud", "apkovl"])
def test_what_is_pulled_is_what_was_built(first: Path, tmp_path: Path, kind: str) -> None:
    """Every file of every node comes back bit for bit; the operator's keys never left."""
    out, url = Path(shutil.copytree(first / kind, tmp_path / "out")), f"file://{tmp_path}/published"
    send(out, url)
    get(url, tmp_path / "pulled")
    built = {name: content for name, content in contents(first / kind).items() if name[:8] != "operator"}
    assert built == contents(tmp_path / "pulled")
    sums = [need("sha256sum", package="coreutils"), "--check", "--ignore-missing", "--strict", "SHA256SUMS"]
    command.run(sums, cwd=tmp_path / "pulled")


def test_what_nodes_share_is_published_once(first: Path, tmp_path: Path) -> None:
    """A second node costs little more than its own part; publishing again costs nothing."""
    shutil.copytree(first / "nocloud", tmp_path / "out")
    manifest = Manifest.from_json((tmp_path / "out/manifest.json").read_text())
    sizes = {}
    for count in (1, 3):
        nodes = dict(list(manifest.nodes.items())[:count])
        (tmp_path / "out/manifest.json").write_text(replace(manifest, nodes=nodes).to_json())
        sizes[count] = send(tmp_path / "out", f"file://{tmp_path}/of-{count}").size
    assert sizes[3] - sizes[1] < sizes[1] / 10
    again = send(tmp_path / "out", f"file://{tmp_path}/of-3")
    assert (again.size, again.new) == (0, False)


def test_publishing_again_mends_what_was_lost(out: Path, tmp_path: Path) -> None:
    """A blob that vanished from under its index is sent again."""
    url = f"file://{tmp_path}/published"
    send(out, url)
    lost = max((tmp_path / "published/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    size = lost.stat().st_size
    lost.unlink()
    assert send(out, url).size == size
    get(url, tmp_path / "pulled", "x-1")


def test_only_the_recipient_reads_a_nodes_own_part(out: Path, tmp_path: Path) -> None:
    """No key is in what is published; the identity gives the files back, another or none does not."""
    identity, recipient = key_pair(tmp_path)
    stranger, _ = key_pair(tmp_path, "stranger.txt")
    url = f"file://{tmp_path}/published"
    send(out, url, recipient)
    secret = (out / "x-1/node.tar.gz").read_bytes()[-4096:]
    assert not [name for name, content in contents(tmp_path / "published").items() if secret in content]
    with pytest.raises(UsageError, match=f"(?s)encrypted for {recipient}.*--identity"):
        get(url, tmp_path / "pulled", "x-1")
    with pytest.raises(UsageError, match=r"not encrypted for a key in .*stranger\.txt"):
        get(url, tmp_path / "pulled", "x-1", stranger)
    get(url, tmp_path / "pulled", "x-1", identity)
    assert contents(tmp_path / "pulled/x-1") == contents(out / "x-1")


def test_age_opens_a_nodes_own_part(out: Path, tmp_path: Path) -> None:
    """The own part is what docs/publishing.md says: age over zstd over the bytes that the recipe asks for."""
    identity, recipient = key_pair(tmp_path)
    send(out, f"file://{tmp_path}/published", recipient)
    layout = tmp_path / "published"
    index = json.loads((layout / "index.json").read_text())

    def blob(told: dict[str, str]) -> Path:
        return layout / "blobs" / told["digest"].replace(":", "/")

    node = next(one for one in index["manifests"] if one["artifactType"].endswith("node.v1"))
    manifest = json.loads(blob(node).read_text())
    recipe = json.loads(blob(manifest["config"]).read_text())
    packed = command.run([need("age", package="age"), "-d", "-i", identity, blob(manifest["layers"][0])])
    own = command.run([need("zstd", package="zstd"), "-d", "-c"], stdin=packed)
    parts = [part for file in recipe["files"] for part in file["parts"] if part["kind"] == "own"]
    assert len(own) == sum(part["size"] for part in parts)


def test_publishing_secrets_needs_a_word(out: Path, tmp_path: Path) -> None:
    """Neither recipients nor --plaintext-secrets: exit 4, the reason, and nothing is written."""
    with (
        opened(f"file://{tmp_path}/published", "--to") as place,
        pytest.raises(SafetyError, match=r"(?s)private keys.*--recipient") as caught,
    ):
        publish(place, Push(out=out), Silent())
    assert caught.value.exit_code == 4
    assert not (tmp_path / "published").exists()


@pytest.mark.parametrize("recipient", ["age1nobody", "ssh-ed25519 AAAA", "AGE-SECRET-KEY-1QQ"])
def test_an_unknown_recipient_is_named(out: Path, tmp_path: Path, recipient: str) -> None:
    """What is no public key of age is told before anything is written, and a private key is not repeated."""
    with pytest.raises(UsageError, match="recipient") as caught:
        send(out, f"file://{tmp_path}/published", recipient)
    assert ("SECRET" in recipient) != (recipient in str(caught.value))
    assert not (tmp_path / "published").exists()


def test_another_publication_is_replaced_only_by_force(out: Path, first: Path, tmp_path: Path) -> None:
    """What is there stays as it is without --force; with it, the new one is there, and the old is gone."""
    url = f"file://{tmp_path}/published"
    send(out, url)
    other = Path(shutil.copytree(first / "apkovl", tmp_path / "other"))
    before = contents(tmp_path / "published")
    with pytest.raises(SafetyError, match="--force"):
        send(other, url)
    assert contents(tmp_path / "published") == before
    send(other, url, force=True)
    get(url, tmp_path / "pulled", "x-1")
    assert contents(tmp_path / "pulled/x-1") == contents(first / "apkovl/x-1")
    own = {path.read_bytes() for path in (out / ".published").iterdir()}
    assert not own & set(contents(tmp_path / "published").values())


def test_an_interrupted_push_goes_on(out: Path, tmp_path: Path) -> None:
    """Without the index nothing is published; what is there is not sent again, not even encrypted parts."""
    identity, recipient = key_pair(tmp_path)
    url, layout = f"file://{tmp_path}/published", tmp_path / "published"
    whole = send(out, url, recipient)
    blobs = sorted((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    (layout / "index.json").unlink()
    blobs[0].unlink()
    with pytest.raises(UsageError, match="nothing is published"):
        get(url, tmp_path / "pulled")
    rest = send(out, url, recipient)
    assert (rest.whole, rest.new) == (whole.whole, True)
    assert rest.size < whole.size / 10
    get(url, tmp_path / "pulled", "", identity)


@pytest.mark.parametrize("size", ["largest", "smallest", "own"])
def test_a_changed_byte_is_named(out: Path, tmp_path: Path, size: str) -> None:
    """Whichever blob has another byte, pulling says which digest is wrong, and that file is not written."""
    url = f"file://{tmp_path}/published"
    send(out, url)
    blobs = sorted((tmp_path / "published/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    spool = {path.read_bytes() for path in (out / ".published").iterdir()}
    own = [path for path in blobs if path.read_bytes() in spool]
    changed = {"largest": blobs[-1], "smallest": blobs[0], "own": own[0]}[size]
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    if size == "smallest":  # the empty configuration, which nothing is made of
        get(url, tmp_path / "pulled")
        return
    with pytest.raises(InputError, match=f"(?s){changed.name}.*publish again") as caught:
        get(url, tmp_path / "pulled")
    assert caught.value.exit_code == 3
    assert not (tmp_path / "pulled/manifest.json").exists()


def test_a_changed_artefact_is_not_published(out: Path, tmp_path: Path) -> None:
    """What is not what the manifest says is refused before anything is sent."""
    with (out / "x-2/node.tar.gz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(SafetyError, match=r"x-2/node\.tar\.gz is not what the manifest says"):
        send(out, f"file://{tmp_path}/published")
    assert not (tmp_path / "published").exists()


def test_what_was_signed_verifies_where_it_is_pulled(first: Path, tmp_path: Path) -> None:
    """The provenance goes along; after publishing, and after pulling all or one node, nothing is wrong."""
    place = tmp_path / "place"
    shutil.copytree(first / "apkovl", place / "out")
    vault = Path(shutil.copytree(first / "vault/apkovl", place / "vault"))
    key = signing_key(vault, cluster="edge")
    sign(pipeline.resolve(str(first / "edge.yaml")), place / "out", key)
    identity, recipient = key_pair(tmp_path)
    send(place / "out", f"file://{tmp_path}/published", recipient)
    get(f"file://{tmp_path}/published", tmp_path / "one", "x-1", identity)
    get(f"file://{tmp_path}/published", tmp_path / "all", "", identity)
    public = public_half(key)
    counted = [
        verify(directory, public, node=node).files
        for directory, node in ((place / "out", ""), (tmp_path / "all", ""), (tmp_path / "one", "x-1"))
    ]
    operators = len(list((place / "out/operator").iterdir()))
    assert counted[0] - counted[1] == operators
    assert counted[1] > counted[2]


@pytest.fixture
def signed(first: Path, tmp_path: Path) -> tuple[Path, bytes]:
    """Return a publication of a signed build, and the signer's public key."""
    out, vault = (Path(shutil.copytree(first / one, tmp_path / one)) for one in ("apkovl", "vault/apkovl"))
    key = signing_key(vault, cluster="edge")
    sign(pipeline.resolve(str(first / "edge.yaml")), out, key)
    send(out, f"file://{tmp_path}/published")
    return tmp_path / "published", public_half(key)


def test_what_is_published_verifies_where_it_is(signed: tuple[Path, bytes]) -> None:
    """All nodes or one, pulled for the while; another key is told before anything is pulled."""
    layout, public = signed
    other = public_half(new_key("ed25519"))
    with source(f"file://{layout}", "--from") as place:
        whole, one = (verify_published(place, public, Silent(), node=node).files for node in ("", "x-1"))
        assert whole > one
        with pytest.raises(InputError, match="was signed with the key"):
            verify_published(place, other, Silent())


def test_a_flipped_byte_anywhere_in_what_is_published_is_noticed(signed: tuple[Path, bytes]) -> None:
    """In the index or in any blob: an error of the input, which names the file or the digest."""
    layout, public = signed
    with source(f"file://{layout}", "--from") as place:
        for path in (layout / "index.json", *sorted((layout / "blobs/sha256").iterdir())):
            whole = path.read_bytes()
            at = len(whole) // 2
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(InputError, match="the index" if path.parent == layout else path.name):
                verify_published(place, public, Silent())
            path.write_bytes(whole)
        verify_published(place, public, Silent())


def test_what_cannot_be_verified_is_told(first: Path, out: Path, tmp_path: Path) -> None:
    """A publication that was not signed, a directory that is one, a file: each by its own words, exit 2."""
    url, public = f"file://{tmp_path}/published", public_half(new_key("ed25519"))
    send(out, url)
    with source(url, "--from") as place, pytest.raises(UsageError, match="what is published was not signed"):
        verify_published(place, public, Silent())
    with pytest.raises(UsageError, match=rf"is a publication\n.*file://{tmp_path}/published"):
        verify(tmp_path / "published", public)
    with pytest.raises(UsageError, match="is a file, and what was signed is a whole build"):
        verify(first / "apkovl/x-1/x-1.apkovl.tar.gz", public)


def test_flash_pulls_first(first: Path, tmp_path: Path) -> None:
    """`flash --from --identity` has the node's files, as built, before it looks at the card."""
    shutil.copytree(first / "apkovl", tmp_path / "out")
    identity, recipient = key_pair(tmp_path)
    send(tmp_path / "out", f"file://{tmp_path}/published", recipient)
    (tmp_path / "card").mkdir()
    told: list[str | Path] = ["--profile", first / "edge.yaml", "--node", "x-1", "--out", tmp_path / "got"]
    told += ["--from", f"file://{tmp_path}/published", "--identity", identity, "--files", tmp_path / "card"]
    done = invoke("flash", *told)
    assert (done.returncode, "is not the mount point of a card" in done.stderr) == (4, True)
    assert contents(tmp_path / "got/x-1") == contents(first / "apkovl/x-1")


def test_the_commands_say_what_they_did(first: Path, tmp_path: Path) -> None:
    """`publish` refuses with 4 and a reason; then it tells sizes, and `pull` where the files are."""
    out, url = Path(shutil.copytree(first / "apkovl", tmp_path / "out")), f"file://{tmp_path}/published"
    told: list[str | Path] = ["publish", "--profile", first / "edge.yaml", "--out", out, "--to", url]
    refused = invoke(*told)
    assert (refused.returncode, "--recipient age1" in refused.stderr) == (4, True)
    assert "4 nodes" in invoke(*told, "--plaintext-secrets").stdout
    pulled = invoke("pull", "--from", url, "--node", "y-1", "--out", tmp_path / "got")
    assert f"{tmp_path}/got/ has y-1 of edge" in pulled.stdout


def test_a_web_server_that_shows_the_directory_is_pulled_from(out: Path, tmp_path: Path) -> None:
    """A directory that was published can be served as it is; what is not there is told."""
    send(out, f"file://{tmp_path}/published")
    with serving() as site:
        with pytest.raises(UsageError, match="nothing is published there"):
            get(f"{site.url}/edge", tmp_path / "pulled")
        for name, content in contents(tmp_path / "published").items():
            site.pages[f"/edge/{name}"] = Page(body=content)
        get(f"{site.url}/edge", tmp_path / "pulled", "x-1")
        assert contents(tmp_path / "pulled/x-1") == contents(out / "x-1")
        own = next(path for path in site.pages if site.pages[path].body.startswith(b"(\xb5/\xfd"))
        del site.pages[own]
        with pytest.raises(InputError, match=f"{own} is not there"):
            get(f"{site.url}/edge", tmp_path / "pulled")
    with pytest.raises(InputError, match=rf"{site.url}/edge could not be reached"):
        get(f"{site.url}/edge", tmp_path / "pulled")


def test_a_directory_with_another_build_stays(out: Path, first: Path, tmp_path: Path) -> None:
    """Pulling never overwrites a build: its files are named, and nothing is changed."""
    send(out, f"file://{tmp_path}/published")
    other = Path(shutil.copytree(first / "apkovl", tmp_path / "other"))
    with pytest.raises(SafetyError, match="another build"):
        get(f"file://{tmp_path}/published", other)
    assert contents(other) == contents(first / "apkovl")


def test_a_node_that_is_not_there_is_told(out: Path, tmp_path: Path) -> None:
    """The error names those that are."""
    send(out, f"file://{tmp_path}/published")
    with pytest.raises(UsageError, match=r"(?s)no node x-9.*x-1, x-2, x-3, y-1"):
        get(f"file://{tmp_path}/published", tmp_path / "pulled", "x-9")


@pytest.mark.parametrize(
    "url", ["", "/srv/here", "ftp://host/x", "file://host/x", "file:///", "s3://[bad", "file://[bad"]
)
def test_no_place_is_told(url: str) -> None:
    """What names no place says which there are."""
    with pytest.raises(UsageError, match=r"--to.*\n.*file:///DIR"), opened(url, "--to"):
        pass


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/edge", "http://[::1/edge", "http://\x7f/edge"])
def test_an_address_that_is_none_is_told(tmp_path: Path, url: str) -> None:
    """A web server's address with a slip in it is an error of ours, not a traceback."""
    with pytest.raises(InputError, match="could not be reached"):
        get(url, tmp_path / "pulled")


def test_a_registrys_address_that_is_none_is_told() -> None:
    """The same of a registry."""
    with (
        pytest.raises(UsageError, match="host:port could not be reached"),
        opened("oci://host:port/a:b", "--to"),
    ):
        pass


def test_a_full_disk_publishes_nothing(out: Path, tmp_path: Path) -> None:
    """The directory's disk is full: the error says so, there is no index, and the old publication stays."""
    need_root()
    place = tmp_path / "small"
    place.mkdir()
    command.run([need("mount", package="mount"), "-t", "tmpfs", "-o", "size=300k", "none", place])
    try:
        with pytest.raises(BuildError, match=r"(?s)No space left.*nothing was published"):
            send(out, f"file://{place}/published")
        assert not (place / "published/index.json").exists()
    finally:
        command.run([need("umount", package="mount"), place])


class Changing(Silent):
    """A listener that changes files once everything was looked at, and before anything is sent."""

    def __init__(self, pattern: str, out: Path) -> None:
        self._pattern, self._out = pattern, out

    def start(self, task: str, total: int | None = None) -> None:
        """Change a byte of each."""
        del total
        for path in self._out.glob(self._pattern) if task.startswith("publishing") else ():
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)


@pytest.mark.parametrize("pattern", [".published/*", "x-1/*"])
def test_what_changes_before_it_is_sent_is_not_published(out: Path, tmp_path: Path, pattern: str) -> None:
    """Somebody builds meanwhile: no place gets other bytes under a blob's name, and there is no index."""
    wanted, changing = Push(out=out, plaintext=True), Changing(pattern, out)
    with (
        opened(f"file://{tmp_path}/published", "--to") as place,
        pytest.raises(BuildError, match=r"(?s)changed before it was sent.*nothing was published"),
    ):
        publish(place, wanted, changing)
    assert not (tmp_path / "published/index.json").exists()
    for path in (tmp_path / "published/blobs/sha256").glob("*"):
        assert path.name == hashlib.sha256(path.read_bytes()).hexdigest()


def test_another_tool_reads_the_directory(out: Path, tmp_path: Path) -> None:
    """Skopeo knows the directory as an OCI image layout, and each node in it by name."""
    skopeo = need("skopeo", package="skopeo")
    send(out, f"file://{tmp_path}/published")
    manifest = json.loads(command.run([skopeo, "inspect", "--raw", f"oci:{tmp_path}/published:x-1"]))
    assert manifest["artifactType"] == "application/vnd.nodebake.node.v1"


@pytest.mark.parametrize(
    "text", ["{}", '{"manifests": []}', '{"manifests": [{"digest": "sha256:../../x"}]}', "["]
)
def test_a_foreign_index_is_told(out: Path, tmp_path: Path, text: str) -> None:
    """An index that is not ours is an error of the input, not a traceback."""
    send(out, f"file://{tmp_path}/published")
    (tmp_path / "published/index.json").write_text(text)
    with pytest.raises(NodebakeError, match="no publication of ours"):
        get(f"file://{tmp_path}/published", tmp_path / "pulled")
