"""From finished tiles to the files of objects: a table, outlines, a picture of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.images import ImageInfo
from unet_deploy.objects import TABLE_SUFFIXES, Objects, ObjectTable, write_table
from unet_deploy.objects.geojson import write_outlines
from unet_deploy.stream.pipeline import DoneTile
from unet_deploy.system.files import check_free
from unet_deploy.tiling import Region


@dataclass(frozen=True)
class Counted:
    """What counts as an object."""

    connectivity: Literal[4, 8] = 4
    """Neighbours of a pixel."""
    min_size: int = 0
    """Objects of fewer pixels are left out."""
    fill_holes: bool = False
    """Whether background inside one object belongs to it."""


def check_table(path: Path, *, overwrite: bool) -> None:
    """Raise unless a table of objects may be written under this name."""
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise UsageError(f"{path}: a table of objects ends in {', '.join(TABLE_SUFFIXES)}")
    check_free(path, overwrite=overwrite)


class Counting:
    """A consumer of finished tiles that writes what is asked for in `finish`.

    window: where the first pixel of tile coordinates lies in the image, and how far they reach.
    """

    def __init__(self, counted: Counted, image: ImageInfo, window: Region, classes: Sequence[str]) -> None:
        self._window = window
        self._pages = [
            Objects(
                window.height,
                window.width,
                channels=image.channels,
                classes=classes,
                connectivity=counted.connectivity,
                min_size=counted.min_size,
                fill_holes=counted.fill_holes,
                pixel_size_um=image.pixel_size_um,
            )
            for _ in range(image.pages)
        ]
        self._regions: list[tuple[int, Region]] = []
        self._parts: list[DoneTile] = []

    def add(self, done: DoneTile) -> None:
        """Take a tile; one that was divided counts when all of its parts are there."""
        if done.whole == done.tile.write:
            self._count(done.page, done.whole, done.image, done.labels)
            return
        self._parts.append(done)
        if sum(part.labels.size for part in self._parts) < done.whole.height * done.whole.width:
            return
        image = np.empty((len(done.image), done.whole.height, done.whole.width), done.image.dtype)
        labels = np.empty(image.shape[1:], np.uint8)
        for part in self._parts:
            place = part.tile.write.moved(-done.whole.y, -done.whole.x).slices
            image[(slice(None), *place)], labels[place] = part.image, part.labels
        self._parts.clear()
        self._count(done.page, done.whole, image, labels)

    def _count(self, page: int, region: Region, image: np.ndarray, labels: np.ndarray) -> None:
        self._pages[page].add(region, image, labels)
        self._regions.append((page, region))

    def finish(
        self,
        labels_of: Callable[[int, Region], np.ndarray],
        *,
        table: Path | None = None,
        number: Callable[[int, Region, np.ndarray], None] | None = None,
        overwrite: bool = False,
    ) -> int:
        """Write the table, and return how many objects there are.

        labels_of: the labels (h, w) of a region of a page, as they were added. number: takes the ids (h, w) uint32 of
        the objects in each region of the image.
        """

        def numbered(page: int) -> Iterator[tuple[Region, np.ndarray]]:
            for at, region in self._regions:
                if at == page:
                    ids = self._pages[page].instances(region, labels_of(page, region))
                    yield region.moved(self._window.y, self._window.x), ids

        tables = [self._placed(page.finish()) for page in self._pages]
        if number:
            for page in range(len(tables)):
                for region, ids in numbered(page):
                    number(page, region, ids)
        if table and table.suffix.lower() == ".geojson":
            write_outlines(table, *((each, numbered(page)) for page, each in enumerate(tables)), overwrite=overwrite)
        elif table:
            write_table(table, *tables, overwrite=overwrite)
        return sum(map(len, tables))

    def _placed(self, table: ObjectTable) -> ObjectTable:
        """Coordinates of the window as those of the image."""
        for axis, offset in (("y", self._window.y), ("x", self._window.x)):
            for name in (f"centroid_{axis}", f"bbox_{axis}"):
                table.rows[name] += offset
        return table
