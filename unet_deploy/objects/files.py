"""The files of a table of objects: CSV, Parquet, and GeoJSON points for QuPath."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.objects.frame import Frame
from unet_deploy.objects.geojson import write_points
from unet_deploy.objects.table import ObjectTable
from unet_deploy.system.extras import require
from unet_deploy.system.files import replacing

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What text begins with that spreadsheets run, or that hides such a beginning (owasp.org, CSV Injection)."""

_AT_A_TIME = 1 << 14
"""Objects that are written together."""


def _blocks(tables: tuple[ObjectTable, ...]) -> Iterator[dict[str, np.ndarray]]:
    """Yield the columns of some objects at a time; the first block is there even where there is no object."""
    for page, table in enumerate(tables):
        for start in range(0, max(len(table), 1), _AT_A_TIME):
            columns = table.columns(slice(start, start + _AT_A_TIME))
            places = [("page", page), *table.steps] if len(tables) > 1 else []
            yield {name: np.full(len(columns["id"]), at, np.int32) for name, at in places} | columns


def _write_csv(path: Path, tables: tuple[ObjectTable, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, block in enumerate(_blocks(tables)):
            if number == 0:
                writer.writerow(block)
            writer.writerows(zip(*(map(inert, column.tolist()) for column in block.values()), strict=True))


def inert(cell: object) -> object:
    """A cell on one line that no spreadsheet takes for a formula: OWASP's rule for text that comes from outside.

    >>> inert("=1+1"), inert(-1.5), inert("nucleus")
    ("'=1+1", -1.5, 'nucleus')
    """
    if not isinstance(cell, str):
        return cell
    line = cell.replace("\r", "\\r").replace("\n", "\\n")
    return f"'{line}" if cell.startswith(_FORMULAS) else line


def _write_parquet(path: Path, tables: tuple[ObjectTable, ...]) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    def arrow(block: dict[str, np.ndarray]) -> Any:
        types = {"class_name": pyarrow.string()}
        made = pyarrow.table({name: pyarrow.array(values, types.get(name)) for name, values in block.items()})
        return made.replace_schema_metadata(said) if said else made

    said = _said(tables[0].frame) if tables else {}
    blocks = map(arrow, _blocks(tables))
    first = next(blocks)
    with ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for block in blocks:
            writer.write_table(block)


def _said(frame: Frame) -> dict[str, str]:
    """What numbers in the columns do not say: their level, and the system of their places on a map."""
    level = {"level": str(frame.level)} if frame.level else {}
    return level | ({"crs": frame.map.name} if frame.map else {})


_WRITERS = {".csv": _write_csv, ".parquet": _write_parquet, ".geojson": write_points}
TABLE_SUFFIXES = tuple(_WRITERS)


def check_table_name(path: Path) -> None:
    """Raise UsageError unless a name is that of a table of objects, and MissingPackageError without its package."""
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise UsageError(f"{path}: a table of objects ends in {', '.join(TABLE_SUFFIXES)}")
    if suffix == ".parquet":
        require("pyarrow", "objects")


def write_table(path: Path, *tables: ObjectTable, overwrite: bool = False) -> None:
    """Write the tables of the pages of an image to one .csv, .parquet or .geojson file, which appears when it is whole.

    More pages than one are told apart by a first column `page`, from 0, and by `t` and `z` where these are known; in
    GeoJSON, whose points are the centroids, by the plane. Raises UsageError for another suffix or a file that exists,
    MissingPackageError without pyarrow.
    """
    check_table_name(path)
    write = _WRITERS[path.suffix.lower()]
    with replacing(path, overwrite=overwrite) as beside:
        write(beside, tables)
