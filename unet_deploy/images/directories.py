"""The directories (IFDs) of a TIFF file, walked before they are believed: a damaged file may lead round in a circle."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from unet_deploy.errors import ImageError

MOST_ENTRIES = 4096
"""Tags of one directory; what claims more is no directory, and tifffile stops there."""

_SUBIFDS = 330
_PLACES = (273, 279, 324, 325)
"""Tags that say where strips or tiles lie, and how long they are: another compressed tile has another length."""

_ASCII = 2
"""The type of texts."""

_VALUE_BYTES = {3: 2, 4: 4, 13: 4, 16: 8, 17: 8, 18: 8}
"""Of the types that places have: SHORT, LONG, IFD and, in BigTIFF, LONG8, SLONG8, IFD8."""


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
    with path.open("rb", buffering=0) as file:
        for _ in _Walk(path, file).tables():
            pass


def layout_of(path: Path) -> Iterator[bytes]:
    """Yield the directories of a TIFF as they are stored, each with the places and lengths of its strips or tiles.

    Raises as `check_directories`.
    """
    with path.open("rb", buffering=0) as file:
        walk = _Walk(path, file)
        for table in walk.tables():
            yield table
            yield from walk.places(table)


def first_text(path: Path, tag: int) -> str | None:
    """Return the text (type ASCII) of a tag of the first directory; None where there is none. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        return _Walk(path, file).text(tag)


class _Walk:
    """Visits directories, each once."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self._path, self._file = path, file
        self._size = os.fstat(file.fileno()).st_size
        self._layout = _Layout("<", big=False)
        self._seen: set[int] = set()

    def tables(self) -> Iterator[bytes]:
        """Yield the entries of every directory: of a page, of its SubIFDs, of the next page."""
        page = self._first()
        while page:
            table, page = self._visit(page)
            yield table
            below = self._below(table)
            while below:
                table, _ = self._visit(below.pop())
                yield table
                below += self._below(table)

    def places(self, table: bytes) -> Iterator[bytes]:
        """Yield where the strips or tiles of a directory lie, and their lengths, as they are stored."""
        for tag, kind, values, place in self._entries(table):
            if tag in _PLACES:
                yield self._stored(values, _VALUE_BYTES.get(kind, 4), place)

    def text(self, tag: int) -> str | None:
        """Return the text of a tag of the first directory."""
        table, _ = self._visit(first) if (first := self._first()) else (b"", 0)
        for found, kind, values, place in self._entries(table):
            if (found, kind) == (tag, _ASCII):
                return self._stored(values, 1, place).rstrip(b"\0").decode(errors="replace")
        return None

    def _first(self) -> int:
        """Return where the first directory lies; 0 where the file is no TIFF."""
        header = self._read(0, 16)
        order = {b"II": "<", b"MM": ">"}.get(header[:2])
        if order is None or len(header) < 16:
            return 0
        self._layout = _Layout(order, big=struct.unpack_from(order + "H", header, 2)[0] == 43)
        return int(self._layout.offset.unpack_from(header, 8 if self._layout.big else 4)[0])

    def _visit(self, directory: int) -> tuple[bytes, int]:
        """Return the entries of a directory and where the next one lies; none and 0 where it ends here."""
        if directory in self._seen:
            raise ImageError(f"{self._path}: its directories of pages lead in a circle; save it again")
        self._seen.add(directory)
        count, entry, offset = self._layout.count, self._layout.entry, self._layout.offset
        head = self._read(directory, count.size)
        entries = count.unpack(head)[0] if len(head) == count.size else 0
        if not 0 < entries <= MOST_ENTRIES:
            return b"", 0
        table = self._read(directory + count.size, entries * entry.size + offset.size)
        if len(table) < entries * entry.size:
            return b"", 0
        rest = table[entries * entry.size :]
        return table[: entries * entry.size], int(offset.unpack(rest)[0]) if len(rest) == offset.size else 0

    def _below(self, table: bytes) -> list[int]:
        """Return where the SubIFDs of a directory lie."""
        below: list[int] = []
        for tag, kind, values, place in self._entries(table):
            if tag == _SUBIFDS:
                size = 8 if _VALUE_BYTES.get(kind) == 8 else 4
                stored = self._stored(values, size, place)
                code = f"{self._layout.order}{len(stored) // size}{'Q' if size == 8 else 'I'}"
                offsets = struct.unpack(code, stored[: len(stored) // size * size])
                below += [each for each in offsets if each >= 8]  # tifffile passes over smaller ones
        return below

    def _entries(self, table: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield tag, type, number of values, and the bytes that hold them or say where they lie."""
        entry, offset = self._layout.entry, self._layout.offset
        for at in range(0, len(table), entry.size):
            tag, kind, values, _ = entry.unpack_from(table, at)
            yield tag, kind, values, table[at + entry.size - offset.size : at + entry.size]

    def _stored(self, values: int, size: int, place: bytes) -> bytes:
        """Return the values of a tag: in the entry itself where they fit, elsewhere in the file where not."""
        if values * size > self._size:
            return b""
        if values * size <= len(place):
            return place[: values * size]
        return self._read(self._layout.offset.unpack(place)[0], values * size)

    def _read(self, offset: int, size: int) -> bytes:
        if offset >= self._size:
            return b""
        self._file.seek(offset)
        return self._file.read(size)
