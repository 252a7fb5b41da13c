"""What the chunks of a PNG say of its numbers (PNG specification, sections 5 and 11)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _INDEXED = 0, 3
"""Colour types whose pixels are one number each."""
_METRE = 1
"""The unit of pHYs; the other stands for none."""


@dataclass(frozen=True)
class PngHeader:
    """How a PNG stores its numbers."""

    bits: int
    """Of a sample."""
    numbers: bool
    """Whether a pixel is one number: a grey value or a place in the palette."""
    table: np.ndarray | None = None
    """(3, entries) uint16, the palette, where there is one."""
    transparent: tuple[int, ...] = ()
    """Places in the palette that are seen through."""
    sides_um: tuple[float, float] | None = None
    """Height and width of a pixel in micrometres, where the file says how many make a metre (pHYs)."""

    def as_grey(self, data: bytes) -> bytes:
        """Return a PNG of the same numbers whose pixels are grey values, without palette and transparency."""
        return SIGNATURE + b"".join(map(_grey_chunk, chunks_of(data)))


def read_header(data: bytes) -> PngHeader | None:
    """Read the chunks of a PNG before its pixels; None where they are damaged, as the decoder will say."""
    bits = colour_type = None
    table: np.ndarray | None = None
    transparent: tuple[int, ...] = ()
    sides: tuple[float, float] | None = None
    for chunk in chunks_of(data):
        kind, body = chunk[4:8], chunk[8:-4]
        if kind == b"IHDR" and len(body) == 13:
            bits, colour_type = body[8], body[9]
        elif kind == b"PLTE" and len(body) % 3 == 0 and body:
            table = np.frombuffer(body, np.uint8).reshape(-1, 3).T.astype(np.uint16) * 257
        elif kind == b"tRNS" and colour_type == _INDEXED:
            transparent = tuple(place for place, alpha in enumerate(body) if alpha == 0)
        elif kind == b"pHYs" and len(body) == 9 and body[8] == _METRE:
            per_x, per_y = struct.unpack(">II", body[:8])
            sides = (1e6 / per_y, 1e6 / per_x) if per_x and per_y else None
        elif kind == b"IDAT":
            break
    if bits not in (1, 2, 4, 8, 16) or (colour_type == _INDEXED and table is None):
        return None
    numbers = colour_type in (_GREY, _INDEXED)
    return PngHeader(bits, numbers, table if colour_type == _INDEXED else None, transparent, sides)


def chunks_of(data: bytes) -> Iterator[bytes]:
    """Yield each chunk that is there whole: length, type, content and check sum."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        after = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if after > len(data):
            return
        yield data[at:after]
        at = after


def _grey_chunk(chunk: bytes) -> bytes:
    kind = chunk[4:8]
    if kind == b"IHDR":
        body = chunk[8:17] + bytes([_GREY]) + chunk[18:-4]
        return chunk[:8] + body + struct.pack(">I", zlib.crc32(kind + body))
    return b"" if kind in (b"PLTE", b"tRNS") else chunk
