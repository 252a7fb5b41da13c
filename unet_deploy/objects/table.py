"""The table of objects and its files: CSV, Parquet, and GeoJSON points for QuPath."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.system.extras import require
from unet_deploy.system.files import replacing

SUFFIXES = (".csv", ".parquet", ".geojson")
BLOCK = 1 << 14
"""Objects that are written at a time."""


@dataclass(frozen=True)
class ObjectTable:
    """The objects of one page, in the order of their ids. rows: as `objects.records.row_type`."""

    rows: np.ndarray
    classes: tuple[str, ...]
    pixel_size_um: float | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self, part: slice | np.ndarray = slice(None)) -> dict[str, np.ndarray]:
        """Columns by name, of all objects or some; lengths in pixels and, where their size is known, in micrometres.

        A centroid is a mean of pixel indices: the centre of the first pixel is at 0, 0.
        perimeter: Crofton's formula in four directions, as skimage.measure.perimeter_crofton; pixels of one object
        that touch at a corner alone count as apart with connectivity 4.
        eccentricity: of the ellipse with the same second moments, as skimage.measure.regionprops.
        """
        rows, um = self.rows[part], self.pixel_size_um
        ids = np.arange(1, len(self) + 1, dtype=np.uint32)[part]
        names = np.array(self.classes, dtype=object)[rows["label"]]
        columns = {"id": ids, "class": rows["label"], "class_name": names, "area_px": rows["area"]}
        if um:
            columns["area_um2"] = rows["area"] * um**2
        for name, column in (("centroid_y", ""), ("centroid_x", ""), ("perimeter", "_px")):
            columns[name + column] = rows[name]
            if um:
                columns[f"{name}_um"] = rows[name] * um
        for name in ("bbox_y", "bbox_x", "bbox_height", "bbox_width", "eccentricity"):
            columns[name] = rows[name]
        means = rows["mean_intensity"].T
        if len(means) == 1:
            columns["mean_intensity"] = means[0]
        else:
            columns |= {f"mean_intensity_{channel}": mean for channel, mean in enumerate(means)}
        return columns


def write_table(path: Path, *tables: ObjectTable, overwrite: bool = False) -> None:
    """Write the tables of the pages of an image as .csv, .parquet or .geojson (centroids); it appears when it is whole.

    More pages than one are told apart by a first column `page`, from 0.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: a table of objects is one of {' '.join(SUFFIXES)}")
    if suffix == ".parquet":
        require("pyarrow", "objects")
    from unet_deploy.objects.geojson import write_points

    write = {".csv": _write_csv, ".parquet": _write_parquet, ".geojson": write_points}[suffix]
    with replacing(path, overwrite=overwrite) as beside:
        write(beside, tables)


def _blocks(tables: tuple[ObjectTable, ...]) -> Iterator[dict[str, np.ndarray]]:
    """Columns of some objects at a time; the first block is there even where there is no object."""
    for page, table in enumerate(tables):
        for start in range(0, max(len(table), 1), BLOCK):
            columns = table.columns(slice(start, start + BLOCK))
            pages = {"page": np.full(len(columns["id"]), page, np.int32)} if len(tables) > 1 else {}
            yield pages | columns


def _write_csv(path: Path, tables: tuple[ObjectTable, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, block in enumerate(_blocks(tables)):
            if number == 0:
                writer.writerow(block)
            writer.writerows(zip(*(column.tolist() for column in block.values()), strict=True))


def _write_parquet(path: Path, tables: tuple[ObjectTable, ...]) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    def arrow(block: dict[str, np.ndarray]) -> Any:
        types = {"class_name": pyarrow.string()}
        return pyarrow.table({name: pyarrow.array(values, types.get(name)) for name, values in block.items()})

    blocks = map(arrow, _blocks(tables))
    first = next(blocks)
    with ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for block in blocks:
            writer.write_table(block)
