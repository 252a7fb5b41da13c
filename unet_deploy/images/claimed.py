"""How large a compressed picture says that it is, read as its decoder reads it, before that takes memory for it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

_PNG, _LERC = b"\x89PNG\r\n\x1a\n", b"Lerc2 "
_JP2_CODESTREAM, _JXL_CODESTREAM = b"\xff\x4f\xff\x51", b"\xff\x0a"
_JP2_BOX, _JXL_BOX = b"\x00\x00\x00\x0cjP  ", b"\x00\x00\x00\x0cJXL "
_PNG_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Of the colour types of PNG, as they are decoded: a palette to its colours."""
_JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


@dataclass(frozen=True)
class Claim:
    """What a header says of its picture."""

    height: int
    width: int
    sample_bytes: int = 1
    """Of a pixel, all its samples together, where the format says so up front."""

    @property
    def decoded(self) -> int:
        """Bytes of the pixels."""
        return self.height * self.width * self.sample_bytes


def claim_of(data: bytes) -> Claim | None:
    """Return what the header of a PNG, JPEG, JPEG 2000, JPEG XL, JPEG XR, WebP or LERC says; None of anything else.

    None as well where the header is damaged.
    """
    reader = next((read for starts, read in _READERS if data.startswith(starts)), None)
    try:
        return reader(data) if reader else None
    except (struct.error, IndexError, ValueError):
        return None


def _png_claim(data: bytes) -> Claim | None:
    """Read the first chunk of a PNG (PNG specification, 11.2.2), which its decoder goes by."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    if colour not in _PNG_SAMPLES:
        return None
    transparent = 1 if colour in (0, 2, 3) and b"tRNS" in data[: data.find(b"IDAT") + 1] else 0
    return Claim(height, width, (_PNG_SAMPLES[colour] + transparent) * (2 if bits == 16 else 1))


def _jpeg_claim(data: bytes) -> Claim | None:
    """Find the frame header of a JPEG (ITU T.81, B.2.2), past fill bytes and whatever lies between markers."""
    at = 2
    while True:
        at = data.find(b"\xff", at)
        while 0 <= at < len(data) and data[at] == 0xFF:
            at += 1
        if not 0 <= at < len(data):
            return None
        marker = data[at]
        at += 1
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # no segment follows
            continue
        if marker in (0xD9, 0xDA):  # the end, or the pixels
            return None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width, samples = struct.unpack_from(">BHHB", data, at + 2)
            return Claim(height, width, samples * (2 if bits > 8 else 1))
        at += int(struct.unpack_from(">H", data, at)[0])


def _jpeg2000_claim(data: bytes) -> Claim | None:
    """Read the SIZ marker (ITU T.800, A.5.1): the reference grid less what lies before the image."""
    at = data.find(_JP2_CODESTREAM)
    if at < 0:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
    return Claim(max(0, bottom - top), max(0, right - left))


def _jpegxl_claim(data: bytes) -> Claim | None:
    """Read the size header (ISO 18181-1, D.2), a few bits behind the signature."""
    at = 0
    if data.startswith(_JXL_BOX):
        found = [each for each in (data.find(b"jxlc") + 4, data.find(b"jxlp") + 8) if each > 7]
        if not found:
            return None
        at = min(found)
    if data[at : at + 2] != _JXL_CODESTREAM:
        return None
    bits = int.from_bytes(data[at + 2 : at + 12], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & (1 << count) - 1, bits >> count
        return value

    def side(small: int) -> int:
        return 8 * (take(5) + 1) if small else 1 + take((9, 13, 18, 30)[take(2)])

    small = take(1)
    height = side(small)
    ratio = take(3)
    across, down = _JXL_RATIOS.get(ratio, (0, 1))
    return Claim(height, height * across // down if ratio else side(small))


def _jpegxr_claim(data: bytes) -> Claim | None:
    """Read the directory of a JPEG XR file (ITU T.832, A.7): tags 0xBC80 and 0xBC81."""
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    sides = {}
    for entry in range(entries):
        tag, kind, _, value = struct.unpack_from("<HHII", data, at + 2 + 12 * entry)
        sides[tag] = value & 0xFFFF if kind == 3 else value
    return Claim(sides[0xBC81], sides[0xBC80]) if {0xBC80, 0xBC81} <= sides.keys() else None


def _webp_claim(data: bytes) -> Claim | None:
    """Read the first chunk of a WebP (RFC 9649, 2.5 to 2.7)."""
    kind = data[12:16] if data[8:12] == b"WEBP" else b""
    if kind == b"VP8X":
        return Claim(1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little"))
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return Claim(1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Claim(height & 0x3FFF, width & 0x3FFF)
    return None


def _lerc_claim(data: bytes) -> Claim | None:
    """Read the header of a LERC 2 blob: version, from 3 on a check sum, then rows and columns."""
    (version,) = struct.unpack_from("<i", data, 6)
    height, width = struct.unpack_from("<ii", data, 14 if version >= 3 else 10)
    return Claim(height, width) if height >= 0 and width >= 0 else None


_READERS: tuple[tuple[tuple[bytes, ...], Callable[[bytes], Claim | None]], ...] = (
    ((_PNG,), _png_claim),
    ((b"\xff\xd8",), _jpeg_claim),
    ((_JP2_CODESTREAM, _JP2_BOX), _jpeg2000_claim),
    ((_JXL_CODESTREAM, _JXL_BOX), _jpegxl_claim),
    ((b"II\xbc",), _jpegxr_claim),
    ((b"RIFF",), _webp_claim),
    ((_LERC,), _lerc_claim),
)
"""How a file begins, and what reads the header of such a one."""
