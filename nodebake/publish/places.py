"""From what the user typed to the place it means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from nodebake.errors import UsageError
from nodebake.publish.folder import Folder

if TYPE_CHECKING:
    from nodebake.publish.place import Place

FORMS = "file:///DIR"


def opened(url: str, flag: str) -> Place:
    """Return the place that `url` names; `flag` is where the user said it.

    Raises:
        UsageError: it names none.
    """
    if not url:
        raise UsageError(f"{flag} names no place", hint=f"add {flag} with one of {FORMS}")
    scheme = url.partition("://")[0]
    if scheme == "file":
        return _folder(url, flag)
    raise UsageError(f"{flag} {url}: this is no place to publish at", hint=f"it is one of {FORMS}")


def _folder(url: str, flag: str) -> Place:
    told = urlsplit(url)
    if told.netloc not in {"", "localhost"} or not told.path.strip("/"):
        raise UsageError(f"{flag} {url} is no directory of this machine", hint="write file:///DIR")
    return Folder(directory=Path(unquote(told.path)))
