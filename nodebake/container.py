"""The build inside a container: makes the builder's image and runs `./invoke` in it, through the Docker API.

Every directory is bound at its own path, so that a path means the same inside and outside: no argument,
message or symbolic link has to be translated. The network is the host's, as the inputs come through it.
Source of the calls: Docker Engine API 1.41, https://docs.docker.com/reference/api/engine/.
"""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nodebake.errors import BuildError, InputError, UsageError
from nodebake.tree import Tree, file, write_tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from docker import DockerClient
    from docker.models.containers import Container

    from nodebake.pipeline import Options
    from nodebake.plan import Plan
    from nodebake.progress import Progress

IMAGE = "nodebake-builder"
INGREDIENTS = ("Containerfile", "requirements.txt", "requirements-dev.txt")
DEFAULT_SOCKET = "unix:///var/run/docker.sock"
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_TAIL = 20  # lines of a failed image build that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of `./invoke` in the builder.

    Attributes:
        checkout: this checkout; bound read-only.
        arguments: what follows `./invoke`; paths in it are absolute.
        readable: files and directories bound read-only at their own path.
        writable: directories bound read-write at their own path; made when they are missing.
        variables: environment variables, for instance the one with a pass phrase.
    """

    checkout: Path
    arguments: tuple[str, ...]
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def job(plan: Plan, options: Options, *, checkout: Path, images: bool = False) -> Job:
    """Return the build of `plan` as a run in the builder.

    Args:
        plan: says which files the profile is in, and which others it names.
        options: the build's.
        checkout: this checkout.
        images: whether whole images are written, too.
    """
    authority = plan.profile.pki.authority
    secret = authority.passphrase
    named = [authority.certificate, authority.key, authority.chain, secret and secret.file]
    named += [overlay.path for overlay in plan.profile.overlays]
    readable = [plan.directory, *(plan.directory / name for name in named if name)]
    # Where a file of the profile lies, and where it leads to if it is a link.
    lies = [place.parent for path in plan.files for place in (path, path.resolve())]
    readable += [directory for directory in lies if not directory.is_relative_to(checkout)]
    flags = {
        # Not resolved itself: a link's own name is the profile's.
        "--profile": str(plan.files[0].parent.resolve() / plan.files[0].name),
        "--node": options.node,
        "--out": str(options.out.resolve()),
        "--vault": str(options.vault.resolve()),
        "--mirror": options.mirror or "",
        "--jobs": str(options.jobs),
    }
    for flag, given in (("--base", options.base), ("--snapshot", options.snapshot)):
        if images and given:
            readable.append(given)
            flags[flag] = str(given.resolve())
    if options.mirror and Path(options.mirror).is_dir():
        readable.append(Path(options.mirror))
        flags["--mirror"] = str(Path(options.mirror).resolve())
    variables = {} if options.epoch is None else {"SOURCE_DATE_EPOCH": str(options.epoch)}
    if secret and secret.env and secret.env in options.environ:
        variables[secret.env] = options.environ[secret.env]
    return Job(
        checkout=checkout,
        arguments=(
            "image" if images else "build",
            *(word for flag in flags.items() if flag[1] for word in flag),
            *(["--offline"] if options.offline else []),
            *(["--zst"] if images and options.zst else []),
        ),
        # The engine would make a missing one, as a directory of root's.
        readable=tuple(path for path in readable if path.exists()),
        writable=(options.out, options.vault, options.cache),
        variables=variables,
    )


def run(job: Job, *, progress: Progress, say: Callable[[bytes], None]) -> int:
    """Run `job` as the calling user and return its exit code.

    Args:
        job: what to run.
        progress: told while the image is built, which takes minutes the first time.
        say: gets what the container writes, as it writes it.

    Raises:
        InputError: no container engine answers, or it has no image to start from.
        BuildError: the engine could not build the image or start the container.
        UsageError: a directory cannot be bound.
    """
    volumes = binds(job)
    with _engine() as engine:
        image = _image(engine, job.checkout, progress)
        container = engine.containers.create(
            image,
            [str(job.checkout / "invoke"), *job.arguments],
            user=f"{os.getuid()}:{os.getgid()}",
            network_mode="host",
            working_dir=str(job.checkout),
            environment={**_proxies(), **_trust_variable(), **job.variables},
            volumes=volumes,
            labels={IMAGE: "build"},
        )
        return _follow(container, say)


def binds(job: Job) -> list[str]:
    """Return `job`'s directories in the form of the engine's `Binds`: `source:target:mode`.

    Raises:
        UsageError: a path has a colon, or is the root directory.
    """
    modes = {path.resolve(): "ro" for path in (job.checkout, *job.readable)}
    trust = _trust()
    if trust is not None:
        modes[trust] = "ro"
    for path in job.writable:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        modes[path.resolve()] = "rw"
    for path in modes:
        if ":" in str(path) or path == Path("/"):
            raise UsageError(f"{path} cannot be bound into a container", hint="choose another directory")
    return [f"{path}:{path}:{mode}" for path, mode in sorted(modes.items())]


def tag(checkout: Path) -> str:
    """Return the builder image's name for `checkout`: it changes when one of `INGREDIENTS` does."""
    digest = hashlib.sha256()
    for name in INGREDIENTS:
        digest.update(hashlib.sha256((checkout / name).read_bytes()).digest())
    return f"{IMAGE}:{digest.hexdigest()[:16]}"


@contextmanager
def _engine() -> Iterator[DockerClient]:
    # Imported here: it takes a quarter of a second, and only this command needs it.
    import docker  # noqa: PLC0415 - see above
    from docker.errors import DockerException  # noqa: PLC0415 - see above

    socket = os.environ.get("DOCKER_HOST", DEFAULT_SOCKET)
    nobody = InputError(
        f"no container engine answers at {socket}",
        hint="start one (as root: systemctl start docker), or name its socket: "
        "DOCKER_HOST=unix:///run/user/1000/podman/podman.sock; without one, leave --in-container out",
    )
    if socket.startswith("unix://") and not Path(socket.removeprefix("unix://")).exists():
        raise nobody
    try:
        engine = docker.from_env(timeout=600)
    except DockerException as error:
        raise nobody from error
    try:
        yield engine
    except DockerException as error:
        raise BuildError(f"the container engine at {socket} refused: {error}") from error
    finally:
        engine.close()


def _image(engine: DockerClient, checkout: Path, progress: Progress) -> str:
    from docker.errors import ImageNotFound  # noqa: PLC0415 - imported with the engine only

    name = tag(checkout)
    with suppress(ImageNotFound):
        engine.images.get(name)
        return name
    task = f"building the image {name} (once)"
    progress.start(task)
    lines: list[str] = []
    for event in engine.api.build(
        fileobj=_context(checkout),
        custom_context=True,
        dockerfile="Containerfile",
        tag=name,
        rm=True,
        forcerm=True,
        network_mode="host",
        buildargs=_proxies(),
        decode=True,
    ):
        lines.extend(str(event.get("stream", "")).splitlines())
        if "error" in event:
            raise BuildError("\n  ".join([f"image {name}: {event['error']}", *lines[-_TAIL:]]))
        progress.advance(task)
    progress.finish(task)
    return name


def _context(checkout: Path) -> io.BytesIO:
    files = {name: file((checkout / name).read_bytes()) for name in INGREDIENTS}
    trust = _trust()
    if trust is not None:
        files["trust.pem"] = file(trust.read_bytes())
    archive = io.BytesIO()
    write_tar(Tree(files), archive, epoch=0)
    archive.seek(0)
    return archive


def _follow(container: Container, say: Callable[[bytes], None]) -> int:
    try:
        output = container.attach(stream=True, stdout=True, stderr=True)
        container.start()
        for chunk in output:
            say(chunk)
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)


def _trust() -> Path | None:
    """Return the caller's own list of authorities, if SSL_CERT_FILE (see openssl(1)) names one."""
    named = os.environ.get("SSL_CERT_FILE")
    return Path(named).resolve() if named and Path(named).is_file() else None


def _trust_variable() -> dict[str, str]:
    trust = _trust()
    return {} if trust is None else {"SSL_CERT_FILE": str(trust)}


def _proxies() -> dict[str, str]:
    return {name: os.environ[name] for name in PROXIES if name in os.environ}
