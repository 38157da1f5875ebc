"""What of an image must be written, `<node>.img.bmap`, for bmaptool: format 2.0 of its documentation."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from nodebake.formats.card.ranges import PIECE, Range, joined

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_BLOCK = 4096
_UNKNOWN = "0" * 64  # stands for the file's own digest while that is taken
_TEXT = """\
<?xml version="1.0" ?>
<bmap version="2.0">
  <ImageSize> {size} </ImageSize>
  <BlockSize> {block} </BlockSize>
  <BlocksCount> {blocks} </BlocksCount>
  <MappedBlocksCount> {mapped} </MappedBlocksCount>
  <ChecksumType> sha256 </ChecksumType>
  <BmapFileChecksum> {checksum} </BmapFileChecksum>
  <BlockMap>
{rows}
  </BlockMap>
</bmap>
"""


def text(image: Path, ranges: Iterable[Range]) -> bytes:
    """Return the map of `image`, in which only `ranges` mean something.

    Raises:
        OSError: the image cannot be read.
    """
    size, mapped = image.stat().st_size, joined(ranges, step=_BLOCK)
    values = {
        "size": size,
        "block": _BLOCK,
        "blocks": -(-size // _BLOCK),
        "mapped": sum(one.end - one.start for one in mapped) // _BLOCK,
        "rows": "\n".join(_row(image, one) for one in mapped),
    }
    checksum = hashlib.sha256(_TEXT.format(checksum=_UNKNOWN, **values).encode()).hexdigest()
    return _TEXT.format(checksum=checksum, **values).encode()


def _row(image: Path, one: Range) -> str:
    sha256, left = hashlib.sha256(), one.end - one.start
    with image.open("rb") as file:
        file.seek(one.start)
        while left and (piece := file.read(min(left, PIECE))):
            sha256.update(piece)
            left -= len(piece)
    first, last = one.start // _BLOCK, one.end // _BLOCK - 1
    blocks = f"{first}-{last}" if last > first else f"{first}"
    return f'    <Range chksum="{sha256.hexdigest()}"> {blocks} </Range>'
