"""Pins beside upstream's own lists of checksums: confirmed, contradicted, or taken from there."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote, urlsplit

from nodebake.errors import InputError, UsageError
from nodebake.sources.download import Downloader, UnreachableError
from nodebake.sources.lock import read
from nodebake.sources.table import fill, of_release

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LIST_LIMIT = 1 << 20
_LINE = re.compile(r"^([0-9a-f]{64})[ \t]+\*?(\S+)$", re.MULTILINE)
Verdict = Literal["confirmed", "contradicted", "not listed", "not asked", "no list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What upstream says of one pinned file.

    Attributes:
        name: the input's.
        version: of the release.
        arch: the target's.
        verdict: what came of it; `no list` where upstream publishes none.
        sources: how many independent sources have this value, upstream's own list included.
        pinned: the digest in the lock file.
        why: upstream's digest, or why it could not be asked; empty for what is confirmed.
    """

    name: str
    version: str
    arch: str
    verdict: Verdict
    sources: int
    pinned: str
    why: str = ""


def confirm(path: Path, downloader: Downloader, *, name: str = "") -> tuple[Confirmation, ...]:
    """Compare the pins of a lock file with upstream's lists, and note in it which releases these confirm.

    A pin is never changed: two values for one file are somebody's error, or somebody's attack.

    Args:
        path: the lock file.
        downloader: what asks.
        name: the only input to ask about; empty for all.

    Raises:
        InputError: the lock file cannot be read or written.
        UsageError: there is no such input.
    """
    document, lists = _document(path, name), _Lists(downloader)
    found = []
    for (of, version, arch), pin in read(path).pins.items():
        if name in {"", of}:
            table = document[of]
            url = _list_of(table, version, arch)
            verdict, why = lists.judge(url, unquote(pin.url.rpartition("/")[2]), pin.sha256)
            known = _known(table["releases"][version]) + (verdict == "confirmed")
            row = Confirmation(
                name=of,
                version=version,
                arch=arch,
                verdict=verdict,
                sources=known,
                pinned=pin.sha256,
                why=why,
            )
            found.append(row)
    _note(path, _whole(found))
    return tuple(found)


def check(rows: Iterable[Confirmation]) -> None:
    """Fail if upstream contradicts a pin.

    Raises:
        InputError: with every such file.
    """
    wrong = [
        f"{row.name} {row.version} for {row.arch}: pinned {row.pinned}\n  upstream's list has {row.why}"
        for row in rows
        if row.verdict == "contradicted"
    ]
    if wrong:
        hint = "do not use either before it is known who is wrong; pins are never changed by themselves"
        raise InputError("\n".join(wrong), hint=hint)


def add(path: Path, downloader: Downloader, *, name: str, version: str) -> tuple[Confirmation, ...]:
    """Pin a release that the lock file does not have, from upstream's list; return what was pinned.

    Raises:
        InputError: upstream's list cannot be had, or lacks the file of an architecture.
        UsageError: there is no such input, it publishes no list, or the release is pinned already.
    """
    table = _document(path, name)[name]
    if version in table["releases"]:
        raise UsageError(f"{name} {version} is pinned already", hint="./invoke lock compares it")
    if not table.get("sums"):
        raise UsageError(f"{name} publishes no list of checksums", hint=f"pin it by hand in {path.name}")
    lists, rows = _Lists(downloader), []
    for arch in table["arches"]:
        file = unquote(_filled(table, table["url"], version, arch).rpartition("/")[2])
        sha256 = lists.asked(_list_of(table, version, arch)).get(file)
        if not sha256:
            raise InputError(f"upstream's list of {name} {version} has no {file}", hint="is that a release?")
        row = Confirmation(
            name=name, version=version, arch=arch, verdict="confirmed", sources=1, pinned=sha256
        )
        rows.append(row)
    lines = [f'sha256.{row.arch} = "{row.pinned}"' for row in rows]
    block = [f'[{name}.releases."{version}"]', *lines, 'confidence = "B"', "confirmed = true"]
    _write(path, path.read_text(encoding="utf-8").rstrip("\n") + "\n\n" + "\n".join(block) + "\n")
    return tuple(rows)


class _Lists:
    """Upstream's lists, each asked for once; a host that does not answer is not asked again."""

    def __init__(self, downloader: Downloader) -> None:
        self._downloader = downloader
        self._had: dict[str, dict[str, str] | str] = {}
        self._gone: dict[str, str] = {}

    def judge(self, url: str, file: str, sha256: str) -> tuple[Verdict, str]:
        """Say what the list at `url` has for `file`."""
        if not url:
            return "no list", "upstream publishes none"
        had = self._get(url)
        if isinstance(had, str):
            return "not asked", had
        if file not in had:
            return "not listed", f"{url} has no {file}"
        return ("confirmed", "") if had[file] == sha256 else ("contradicted", had[file])

    def asked(self, url: str) -> dict[str, str]:
        """Return digests by file name.

        Raises:
            InputError: the list cannot be had.
        """
        had = self._get(url)
        if isinstance(had, str):
            raise InputError(f"upstream's list cannot be had: {had}", hint="try again with a network")
        return had

    def _get(self, url: str) -> dict[str, str] | str:
        host = urlsplit(url).hostname or ""
        if host in self._gone:
            return self._gone[host]
        if url not in self._had:
            try:
                text = self._downloader.read(url, limit=_LIST_LIMIT).decode(errors="replace")
                rows = _LINE.findall(text)
                self._had[url] = {Path(name).name: sha256 for sha256, name in rows}
            except UnreachableError as error:
                self._had[url] = str(error)
                if str(error).startswith(f"{host} could not be reached"):
                    self._gone[host] = str(error)
        return self._had[url]


def _document(path: Path, name: str) -> Mapping[str, Any]:
    read(path)  # which checks it, and says what is wrong
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    inputs = sorted(key for key, value in document.items() if isinstance(value, dict) and "releases" in value)
    if name and name not in inputs:
        raise UsageError(f"{path.name} has no input {name}", hint=f"it has {', '.join(inputs)}")
    return document


def _list_of(table: Mapping[str, Any], version: str, arch: str) -> str:
    told = table.get("sums", "")
    return _filled(table, told.get(arch, "") if isinstance(told, dict) else told, version, arch)


def _filled(table: Mapping[str, Any], template: str, version: str, arch: str) -> str:
    return fill(template, of_release(quote(version), table["arches"][arch]))


def _known(release: Mapping[str, Any]) -> int:
    """Return how many sources had a pin's value when it was made; see the head of `sources.lock`."""
    others = release.get("also", "").split(",") if release["confidence"] == "A" else []
    return 1 + len([one for one in others if one.strip()])


def _whole(rows: Iterable[Confirmation]) -> Iterator[tuple[str, str]]:
    """Yield the releases all of whose files are confirmed."""
    verdicts: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        verdicts.setdefault((row.name, row.version), set()).add(row.verdict)
    return (release for release, seen in verdicts.items() if seen == {"confirmed"})


def _note(path: Path, releases: Iterable[tuple[str, str]]) -> None:
    before = text = path.read_text(encoding="utf-8")
    for name, version in releases:
        head = re.escape(f'[{name}.releases."{version}"]')
        text = re.sub(rf"(?m)(^{head}\n(?:(?!\[).*\n)*?)confirmed = false$", r"\1confirmed = true", text)
    if text != before:
        _write(path, text)


def _write(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        read(new)
        new.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        new.unlink(missing_ok=True)
