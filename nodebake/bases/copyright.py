"""The licences of a Debian package, from its own copyright file, where that was written for machines to read.

Source: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FORMAT = "/copyright-format/"
# Debian's short names that differ from SPDX's in more than a number (section 7.1).
_SPDX = {"Expat": "MIT", "Artistic": "Artistic-1.0", "Perl": "Artistic-1.0-Perl OR GPL-1.0-or-later"}
_GNU = re.compile(r"(AGPL|LGPL|GPL|GFDL)-(\d)(?:\.(\d))?(?:\.0)?(\+?)")
_BSD = re.compile(r"BSD-([234])-clause")
_WORDS = {"and": "AND", "or": "OR"}


def licence(stanzas: Iterable[Mapping[str, str]]) -> str:
    """Return what a copyright file says, as an SPDX expression as far as SPDX knows its licences.

    Args:
        stanzas: the file's; of each field the first line.

    Returns:
        All licences of all files with ` AND ` between them; nothing where the file is for people only.
    """
    all_of_it = list(stanzas)
    if not all_of_it or _FORMAT not in all_of_it[0].get("Format", ""):
        return ""
    # A stanza with neither files nor a format is the text of a licence that others name.
    told = {one.get("License", "") for one in all_of_it if one.keys() & {"Files", "Format"}}
    return " AND ".join(sorted({_expression(one) for one in told - {""}}))


def _expression(synopsis: str) -> str:
    """Return a synopsis as SPDX writes it; one that says more than names stays as it is."""
    words = synopsis.split()
    if "," in synopsis or len(words) % 2 == 0 or not set(words[1::2]) <= _WORDS.keys():
        return synopsis
    said = " ".join(_WORDS.get(word) or _name(word) for word in words)
    return f"({said})" if " OR " in said else said


def _name(short: str) -> str:
    gnu, bsd = _GNU.fullmatch(short), _BSD.fullmatch(short)
    if gnu:
        return f"{gnu[1]}-{gnu[2]}.{gnu[3] or 0}-{'or-later' if gnu[4] else 'only'}"
    return f"BSD-{bsd[1]}-Clause" if bsd else _SPDX.get(short, short)
