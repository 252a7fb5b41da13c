"""The directories (IFDs) of a TIFF file, walked before they are believed: a damaged file may lead round in a circle."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from unet_deploy.errors import ImageError

MOST_ENTRIES = 4096
"""Tags of one directory; what claims more is no directory, and tifffile stops there."""

_SUBIFDS = 330
_LONG8_TYPES = (16, 17, 18)
"""Types of 8 bytes a value (BigTIFF): LONG8, SLONG8, IFD8."""


@dataclass(frozen=True)
class _Layout:
    """How the numbers of a TIFF are laid out (TIFF 6.0, section 2; BigTIFF)."""

    order: str
    """Of bytes, as `struct` writes it."""
    big: bool

    @property
    def count(self) -> struct.Struct:
        """The number of entries that a directory begins with."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def offset(self) -> struct.Struct:
        """Where in the file something lies."""
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    @property
    def entry(self) -> struct.Struct:
        """Tag, type, number of values, and the values or where they lie."""
        return struct.Struct(self.order + ("HHQQ" if self.big else "HHII"))


def check_directories(path: Path) -> None:
    """Raise ImageError where a directory is reached twice, as the next one of another or as its SubIFD.

    What is no TIFF, or ends too early, is left for the reader to say. Raises OSError.
    """
    with path.open("rb") as file:
        walk = _Walk(path, file.fileno())
        page = walk.first()
        while page:
            page, below = walk.visit(page)
            while below:
                below += walk.visit(below.pop())[1]


class _Walk:
    """Visits directories, each once."""

    def __init__(self, path: Path, file: int) -> None:
        self._path, self._file = path, file
        self._size = os.fstat(file).st_size
        self._layout = _Layout("<", big=False)
        self._seen: set[int] = set()

    def first(self) -> int:
        """Return where the first directory lies; 0 where the file is no TIFF."""
        header = os.pread(self._file, 16, 0)
        order = {b"II": "<", b"MM": ">"}.get(header[:2])
        if order is None or len(header) < 16:
            return 0
        self._layout = _Layout(order, big=struct.unpack_from(order + "H", header, 2)[0] == 43)
        return int(self._layout.offset.unpack_from(header, 8 if self._layout.big else 4)[0])

    def visit(self, directory: int) -> tuple[int, list[int]]:
        """Return where the next directory and the SubIFDs of this one lie, 0 and none where it ends here."""
        if directory in self._seen:
            raise ImageError(f"{self._path}: its directories of pages lead in a circle; save it again")
        self._seen.add(directory)
        count, entry, offset = self._layout.count, self._layout.entry, self._layout.offset
        head = self._read(directory, count.size)
        entries = count.unpack(head)[0] if len(head) == count.size else 0
        if not 0 < entries <= MOST_ENTRIES:
            return 0, []
        table = self._read(directory + count.size, entries * entry.size + offset.size)
        if len(table) < entries * entry.size:
            return 0, []
        rest = table[entries * entry.size :]
        following = offset.unpack(rest)[0] if len(rest) == offset.size else 0
        below: list[int] = []
        for at in range(0, entries * entry.size, entry.size):
            tag, kind, values, where = entry.unpack_from(table, at)
            if tag == _SUBIFDS:
                size = 8 if kind in _LONG8_TYPES else 4
                inside = table[at + entry.size - offset.size : at + entry.size]
                below += self._offsets(values, size, where, inside)
        return int(following), below

    def _offsets(self, values: int, size: int, where: int, inside: bytes) -> list[int]:
        """Return the offsets that a tag holds: in itself where they fit, elsewhere in the file where not."""
        if values * size > self._size:
            return []
        stored = inside[: values * size] if values * size <= len(inside) else self._read(where, values * size)
        whole = stored[: len(stored) // size * size]
        offsets = struct.unpack(f"{self._layout.order}{len(whole) // size}{'Q' if size == 8 else 'I'}", whole)
        return [each for each in offsets if each >= 8]  # tifffile passes over smaller ones

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file, size, offset) if offset < self._size else b""
