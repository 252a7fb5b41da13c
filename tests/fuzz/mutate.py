"""How valid bytes become others: what disks, networks, other programs and ill will do to a file.

Each mutator takes a random generator and bytes and returns other bytes; those that know a format return None where the
bytes are none of it, so that another one is taken.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

from fuzz.formats import jpeg_segments, json_values, onnx_fields, png_chunks, spool_records, tiff_entries, torch_values
from fuzz.odd import NUMBERS

Mutator = Callable[[random.Random, bytes], "bytes | None"]


def mutated(rng: random.Random, path: Path, others: list[Path]) -> bytes:
    """The bytes of a file after one to three changes; others: valid files that it may be swapped or spliced with."""
    data = path.read_bytes()
    if rng.random() < 0.06:
        return _with_another(rng, data, rng.choice(others).read_bytes())
    special = _SPECIAL.get(path.suffix.lower(), _SPECIAL.get(path.name, ()))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        mutator = rng.choice(special) if special and rng.random() < 0.6 else rng.choice(_PLAIN)
        data = mutator(rng, data) or rng.choice(_PLAIN)(rng, data)
    return data


def _with_another(rng: random.Random, data: bytes, other: bytes) -> bytes:
    cut = rng.random()
    if cut < 0.4:
        return other
    return data[: int(cut * len(data))] + other[int(cut * len(other)) :]


def _flips(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[_place(rng, changed)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _run(rng: random.Random, data: bytes) -> bytes:
    """Some bytes in a row become zeros, ones or noise."""
    start, length = _place(rng, data), rng.choice((1, 2, 4, 16, 256, 4096))
    fill = rng.choice((b"\0" * length, b"\xff" * length, rng.randbytes(length)))
    return data[:start] + fill[: len(data) - start] + data[start + length :]


def _truncated(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice((0, 1, 4, 8, len(data) - 1, len(data) // 2, _place(rng, data)))]


def _repeated(rng: random.Random, data: bytes) -> bytes:
    start, length = _place(rng, data), rng.choice((1, 8, 100, 1000))
    return data[:start] + data[start : start + length] * rng.choice((2, 3, 20)) + data[start + length :]


def _cut_out(rng: random.Random, data: bytes) -> bytes:
    start = _place(rng, data)
    return data[:start] + data[start + rng.choice((1, 2, 8, 100, 1000)) :]


def _number(rng: random.Random, data: bytes) -> bytes:
    """A length, an offset or a count becomes another number."""
    size = rng.choice((1, 2, 4, 8))
    number = rng.choice(NUMBERS) % (1 << 8 * size)
    start = _place(rng, data)
    return data[:start] + number.to_bytes(size, rng.choice(("little", "big"))) + data[start + size :]


def _digits(rng: random.Random, data: bytes) -> bytes | None:
    """A number that is written out, in XML, JSON or a tag's text, becomes another of as many characters."""
    found = [each for _, each in zip(range(500), re.finditer(rb"\d+", data), strict=False)]
    if not found:
        return None
    number = rng.choice(found)
    size = len(number.group())
    other = rng.choice((b"9" * size, b"0" * size, b"-" + b"9" * (size - 1), b"nan".ljust(size)[:size], b"1e9"[:size]))
    return data[: number.start()] + other.ljust(size, b"9") + data[number.end() :]


def _attribute(rng: random.Random, data: bytes) -> bytes | None:
    """An attribute or element of XML goes or becomes odd; the length stays."""
    found = [each for _, each in zip(range(500), re.finditer(rb'\s\w+="[^"]*"|<\w+', data), strict=False)]
    if not found:
        return None
    part = rng.choice(found)
    size = len(part.group())
    other = rng.choice((b" " * size, b'="' + b"\x1b" * (size - 2), part.group()[::-1], b"&" * size))
    return data[: part.start()] + other[:size].ljust(size) + data[part.end() :]


def _offset(rng: random.Random, data: bytes) -> bytes:
    """Some place holds the place of something else in the file."""
    start = _place(rng, data)
    return data[:start] + struct.pack(rng.choice(("<I", ">I", "<Q")), rng.randrange(len(data) + 1)) + data[start + 4 :]


def _place(rng: random.Random, data: bytes | bytearray) -> int:
    """Where to change: half of the time in the first bytes, which say what the rest is."""
    if not data:
        return 0
    return rng.randrange(min(len(data), 512) if rng.random() < 0.5 else len(data))


_PLAIN: tuple[Mutator, ...] = (_flips, _run, _truncated, _repeated, _cut_out, _number, _offset)
_SPECIAL: dict[str, tuple[Mutator, ...]] = {
    ".tif": (tiff_entries, tiff_entries, tiff_entries, _digits, _attribute),
    ".png": (png_chunks,),
    ".jpg": (jpeg_segments,),
    ".json": (json_values, json_values, _digits),
    ".zattrs": (json_values, _digits),
    ".zarray": (json_values, _digits),
    ".zgroup": (json_values, _digits),
    ".onnx": (onnx_fields,),
    ".pt": (torch_values,),
    ".spool": (spool_records, _digits),
}
"""By suffix or name: mutators that know what such a file holds."""
