"""From what the user typed to the place it means."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from nodebake.errors import UsageError
from nodebake.publish.folder import Folder
from nodebake.publish.place import PlaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebake.publish.bucket import Bucket
    from nodebake.publish.place import Place, Source
    from nodebake.publish.registry import Registry
    from nodebake.publish.site import Site

FORMS = "file:///DIR, oci://REGISTRY/REPOSITORY:TAG, s3://BUCKET/PREFIX"
_OCI = re.compile(
    r"(?P<host>[^/@]+)/(?P<name>[a-z0-9._/-]+?)(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>\w[\w.-]{0,127}))",
    re.ASCII,
)


@contextmanager
def opened(url: str, flag: str, ca: Path | None = None) -> Iterator[Place]:
    """Give the place that `url` names.

    Args:
        url: as the user typed it.
        flag: where it was typed.
        ca: the authority of a server's certificate, if it is not one of the system's.

    Raises:
        UsageError: it names none, or what it takes cannot be used.
    """
    if not url:
        raise UsageError(f"{flag} names no place", hint=f"add {flag} with one of {FORMS}")
    scheme = url.partition("://")[0]
    if scheme == "file":
        yield _folder(url, flag)
    elif scheme in {"oci", "oci+http"}:
        with closing(_registry(url, flag, ca)) as place:
            yield place
    elif scheme == "s3":
        with closing(_bucket(url, flag, ca)) as place:
            yield place
    else:
        raise UsageError(f"{flag} {url}: this is no place to publish at", hint=f"it is one of {FORMS}")


@contextmanager
def source(url: str, flag: str, ca: Path | None = None) -> Iterator[Source]:
    """Give the place that `url` names, which need only be readable; the arguments are those of `opened`.

    Raises:
        UsageError: it names none, or what it takes cannot be used.
    """
    if url.startswith(("https://", "http://")):
        with closing(_site(url, ca)) as site:
            yield site
    else:
        with opened(url, flag, ca) as place:
            yield place


def _site(url: str, ca: Path | None) -> Site:
    from nodebake.publish.site import Site  # noqa: PLC0415 - slow to import

    try:
        return Site(url, ca=ca)
    except PlaceError as error:
        raise UsageError(str(error)) from error


def _split(url: str, flag: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{flag} {url} is no address: {error}", hint=f"it is one of {FORMS}") from error


def _folder(url: str, flag: str) -> Place:
    told = _split(url, flag)
    if told.netloc not in {"", "localhost"} or not told.path.strip("/"):
        raise UsageError(f"{flag} {url} is no directory of this machine", hint="write file:///DIR")
    return Folder(directory=Path(unquote(told.path)))


def _registry(url: str, flag: str, ca: Path | None) -> Registry:
    from nodebake.publish.registry import Registry  # noqa: PLC0415 - slow to import

    scheme, _, rest = url.partition("://")
    told = _OCI.fullmatch(rest)
    if told is None:
        hint = "write oci://REGISTRY/REPOSITORY:TAG, or oci+http://... without TLS"
        raise UsageError(f"{flag} {url} names no tag in a registry", hint=hint)
    if told["digest"] and flag == "--to":
        raise UsageError(f"{flag} {url}: what is published gets a tag, not a digest")
    reference = told["digest"] or told["tag"]
    try:
        return Registry(told["host"], told["name"], reference, ca=ca, plain=scheme == "oci+http")
    except PlaceError as error:
        raise UsageError(str(error)) from error


def _bucket(url: str, flag: str, ca: Path | None) -> Bucket:
    from nodebake.publish.bucket import Bucket  # noqa: PLC0415 - slow to import

    told = _split(url, flag)
    if not told.netloc:
        raise UsageError(f"{flag} {url} names no bucket", hint="write s3://BUCKET/PREFIX")
    try:
        return Bucket(told.netloc, told.path.strip("/"), ca=ca)
    except PlaceError as error:
        raise UsageError(str(error)) from error
