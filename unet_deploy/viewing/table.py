"""The table of the objects of an image to look through: sorted by any column, some rows at a time.

It is read once, as numbers: a million objects of 17 columns take 130 MB. An order is worked out when it is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache

from unet_deploy.errors import UnetDeployError, UsageError, reason
from unet_deploy.images import ImageInfo
from unet_deploy.tiling import Region

MOST_ROWS = 500
"""That are handed out at once."""
_ORDERS = 4
"""That are kept."""
_FIRST = 1000
"""Rows of a CSV that tell which of its columns are numbers."""
_PLACES = ("id", "bbox_y", "bbox_x", "bbox_height", "bbox_width", "centroid_y", "centroid_x")
"""The columns that say where an object lies."""


@dataclass(frozen=True)
class Order:
    """How rows are sorted: by a column, and which way; those without a number come last. None: as they are stored."""

    column: int | None = None
    is_falling: bool = False


class Table:
    """The objects of an image. name: the file, as errors name it. columns: (n,) each, by their names.

    Raises UsageError where columns are missing by which an object is found, or hold what is no number. Several threads
    may ask it.
    """

    def __init__(self, name: str, columns: Mapping[str, np.ndarray]) -> None:
        check_columns(name, [each for each in columns if columns[each].dtype.kind in "uif"])
        for each in _PLACES:
            if gone := np.flatnonzero(~np.isfinite(columns[each])).tolist():
                raise UsageError(f"{name}: row {gone[0]} has no number in column {each}; write it again")
        self.names = tuple(columns)
        self._name = name
        self._columns = dict(columns)
        self._orders: LRUCache[Order, np.ndarray] = LRUCache(_ORDERS)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._columns["id"])

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """All of it, (n,) each, by the names of columns."""
        return self._columns

    def check_of(self, info: ImageInfo) -> None:
        """Raise UsageError where an object lies outside an image, whose table it then is not."""
        columns = self._columns
        for axis, side, end in (("y", "height", info.height), ("x", "width", info.width)):
            begins = columns[f"bbox_{axis}"]
            outside = np.flatnonzero((begins < 0) | (begins + columns[f"bbox_{side}"] > end)).tolist()
            if outside:
                raise UsageError(
                    f"{self._name}: object {columns['id'][outside[0]]} lies outside {info.name}, which is "
                    f"{info.height} x {info.width} pixels; name the table of this image"
                )
        pages = columns.get("page", np.zeros(0))
        if len(pages) and not (pages.min() >= 0 and pages.max() < info.pages):
            raise UsageError(f"{self._name}: has objects of page {pages.max()}, and {info.name} {info.pages} pages")

    def rows(self, order: Order, first: int, count: int = 100) -> tuple[np.ndarray, list[list[Any]]]:
        """Some rows of an order from its `first` on: their numbers in the file, and their cells.

        Raises UsageError for a column that there is not.
        """
        numbers = self._order(order)[max(0, first) : max(0, first) + min(count, MOST_ROWS)]
        cells = [column[numbers].tolist() for column in self._columns.values()]
        return numbers, [list(row) for row in zip(*cells, strict=True)]

    def place(self, row: int) -> tuple[int, Region]:
        """The page and the box of an object, in pixels of the image as it is stored. Raises UsageError for none."""
        if not 0 <= row < len(self):
            raise UsageError(f"there is no row {row}; there are {len(self)}, counted from 0")
        y, x, height, width = (int(self._columns[f"bbox_{name}"][row]) for name in ("y", "x", "height", "width"))
        page = int(self._columns["page"][row]) if "page" in self._columns else 0
        return page, Region(y, x, height, width)

    def rank(self, order: Order, row: int) -> int:
        """Where a row is in an order, from 0. Raises UsageError."""
        found = np.flatnonzero(self._order(order) == row)
        if not len(found):
            raise UsageError(f"there is no row {row}; there are {len(self)}, counted from 0")
        return int(found[0])

    def numbered(self, number: int) -> int | None:
        """The row of an object by its id; None where there is none."""
        found = np.flatnonzero(self._columns["id"] == number)
        return int(found[0]) if len(found) else None

    def lies_at(self, row: int, page: int, y: int, x: int) -> bool:
        """Whether the box of an object holds a pixel as it is stored. Raises UsageError for no such row."""
        on, box = self.place(row)
        return (on == page or "page" not in self.names) and box.y <= y < box.bottom and box.x <= x < box.right

    def at(self, page: int, y: int, x: int) -> int | None:
        """The row of the object at a pixel as it is stored, by boxes: of several the one whose centroid is nearest."""
        columns = self._columns
        inside = np.ones(len(self), bool) if "page" not in columns else columns["page"] == page
        for axis, side, at in (("y", "height", y), ("x", "width", x)):
            begins = columns[f"bbox_{axis}"]
            inside &= (begins <= at) & (at < begins + columns[f"bbox_{side}"])
        rows = np.flatnonzero(inside)
        if not len(rows):
            return None
        distance = (columns["centroid_y"][rows] - y) ** 2 + (columns["centroid_x"][rows] - x) ** 2
        return int(rows[np.argmin(distance)])

    def _order(self, order: Order) -> np.ndarray:
        if order.column is None:
            return np.arange(len(self))
        if not 0 <= order.column < len(self.names):
            raise UsageError(f"there is no column {order.column}; there are {len(self.names)}, counted from 0")
        with self._lock:
            if order not in self._orders:
                self._orders[order] = _sorted(self._columns[self.names[order.column]], order.is_falling)
            return self._orders[order]


class TableFile:
    """A table that a thread of its own reads, so that a page need not wait for it. image: what its objects are of.

    Raises UsageError where there is no such file, or its head is not that of a table.
    """

    def __init__(self, path: Path, image: ImageInfo) -> None:
        if not path.is_file():
            raise UsageError(f"{path}: no such file")
        with _as_table(path):
            check_columns(str(path), _head(path))
        self.name = str(path)
        self._path, self._image = path, image
        self._table: Table | None = None
        self._failed: UnetDeployError | None = None
        self._thread = threading.Thread(target=self._read, name="table", daemon=True)
        self._thread.start()

    @property
    def is_read(self) -> bool:
        """Whether `read` answers at once."""
        return not self._thread.is_alive()

    def read(self) -> Table:
        """The table, once it is read. Raises UsageError for what is none, and for that of another image."""
        self._thread.join()
        if self._table is None:
            raise self._failed or UsageError(f"{self.name}: cannot be read")
        return self._table

    def _read(self) -> None:
        try:
            table = read_table(self._path)
            table.check_of(self._image)
            self._table = table
        except UnetDeployError as error:
            self._failed = error
        except MemoryError:
            self._failed = UsageError(f"{self.name}: is too large for the memory; name a smaller one")


def read_table(path: Path) -> Table:
    """Read a CSV or Parquet table of objects.

    Raises UsageError for what is none, and MissingPackageError where Parquet needs what is not installed.
    """
    with _as_table(path):
        columns = _parquet(path) if _is_parquet(path) else _csv(path)
    return Table(str(path), columns)


def check_columns(name: str, columns: Iterable[str]) -> None:
    """Raise UsageError unless these are among a table's columns of numbers by which objects are found."""
    if missing := [each for each in _PLACES if each not in columns]:
        raise UsageError(f"{name}: has no column {missing[0]} of numbers; name a table that `segment --objects` wrote")


@contextmanager
def _as_table(path: Path) -> Iterator[None]:
    """Make what a reader raises of a file that is no table one line."""
    try:
        yield
    except (OSError, ValueError, StopIteration) as error:
        raise UsageError(f"{path}: is no table of objects ({reason(error)}); write it again") from error


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _head(path: Path) -> list[str]:
    """The names of a table's columns."""
    if not _is_parquet(path):
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _cells(file.readline())
    from unet_deploy.system.extras import importing

    with importing("pyarrow", "objects"):
        from pyarrow.parquet import read_schema

    return list(read_schema(path).names)


def _parquet(path: Path) -> dict[str, np.ndarray]:
    from unet_deploy.system.extras import importing

    with importing("pyarrow", "objects"):
        from pyarrow.parquet import read_table as read

    found = read(path)
    return {name: found[name].to_numpy() for name in found.column_names}


def _csv(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV; those whose first cells are numbers are numbers, and blank ones among them NaN."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = _cells(file.readline())
        first = [row for line in islice(file, _FIRST) if (row := _cells(line))]
    if not first:
        return {name: np.empty(0) for name in head}
    if odd := next((row for row in first if len(row) != len(head)), None):
        raise ValueError(f"a row has {len(odd)} cells, and the head {len(head)}")
    numbers = [at for at, cells in enumerate(zip(*first, strict=True)) if _are_numbers(cells)]
    said: dict[str, Any] = {
        "delimiter": ",",
        "skiprows": 1,
        "quotechar": '"',
        "comments": None,
        "encoding": "utf-8-sig",
    }
    found = dict.fromkeys(head, np.empty(0))
    try:
        table = np.loadtxt(path, usecols=numbers, ndmin=2, **said)
    except ValueError:  # a blank cell, or what is no number; this way takes ten times as long
        table = np.loadtxt(path, usecols=numbers, ndmin=2, converters=_number, **said)
    for at, place in enumerate(numbers):
        found[head[place]] = _whole(table[:, at])
    for place in set(range(len(head))) - set(numbers):
        found[head[place]] = np.loadtxt(path, dtype=object, usecols=[place], ndmin=1, **said)
    return found


def _cells(line: str) -> list[str]:
    import csv

    return next(csv.reader([line])) if line.strip() else []


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether cells are numbers, but for blank ones, and not all of them are blank."""
    try:
        return bool([float(cell) for cell in cells if cell.strip()])
    except ValueError:
        return False


def _number(cell: str) -> float:
    return float(cell) if cell.strip() else np.nan


def _whole(column: np.ndarray) -> np.ndarray:
    """Numbers that are all whole as integers, where float64 has them exactly."""
    is_whole = np.all(np.abs(column) < 1 << 53) and np.all(column == np.rint(column))
    return column.astype(np.int64) if is_whole else np.ascontiguousarray(column)


def _sorted(column: np.ndarray, is_falling: bool) -> np.ndarray:
    """The numbers of rows in the order of a column; rows of one value stay as they are, and NaN comes last."""
    if column.dtype == object:
        column = np.unique(column.astype(str), return_inverse=True)[1]
    if not is_falling:
        return np.argsort(column, kind="stable")
    gone = np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), bool)
    there = np.flatnonzero(~gone)
    return np.concatenate([there[np.argsort(-column[there].astype(np.float64), kind="stable")], np.flatnonzero(gone)])
