"""From finished tiles to the files of objects: a table, outlines, a picture of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from unet_deploy.images import ImageInfo
from unet_deploy.objects import Objects, write_table
from unet_deploy.objects.frame import FINEST
from unet_deploy.objects.geojson import write_outlines
from unet_deploy.segmentation.options import ObjectRules
from unet_deploy.segmentation.places import frame_of, said_of
from unet_deploy.stream.pipeline import DoneTile
from unet_deploy.tiling import Region


class ObjectWriter:
    """Collects the objects of finished tiles, and writes what is asked for in `finish`.

    region: what the tiles of each page cover. table: the file that will say where they are, None for none.
    Raises ImageError where the image lies on no such map as is asked for, and MissingPackageError.
    """

    def __init__(
        self, rules: ObjectRules, image: ImageInfo, region: Region, classes: Sequence[str], table: Path | None = None
    ) -> None:
        self._image = image
        frame = frame_of(image, rules.coordinates, table) if table else FINEST
        self.places = said_of(image, frame, table) if table else ""
        """In what places are given, where the image lies on a map."""
        self._pages = [
            Objects(
                region,
                channels=image.channels,
                classes=classes,
                connectivity=rules.connectivity,
                min_size=rules.min_size,
                fill_holes=rules.fill_holes,
                frame=frame,
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
            place = part.tile.write.slices_in(done.whole)
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
        """Write the table, and return how many objects there are: ids go on over the pages.

        labels_of: the labels (h, w) of a region of a page, as they were added. number: takes the ids (h, w) uint32 of
        the objects in each of these regions.
        """

        def numbered(page: int) -> Iterator[tuple[Region, np.ndarray]]:
            for at, region in self._regions:
                if at == page:
                    yield region, self._pages[page].instances(region, labels_of(page, region))

        tables, count = [], 0
        for page, each in enumerate(self._pages):
            tables.append(replace(each.finish(count), steps=self._image.steps(page)))
            count += len(tables[-1])
        if number:
            for page in range(len(tables)):
                for region, ids in numbered(page):
                    number(page, region, ids)
        if table and table.suffix.lower() == ".geojson":
            write_outlines(table, *((each, numbered(page)) for page, each in enumerate(tables)), overwrite=overwrite)
        elif table:
            write_table(table, *tables, overwrite=overwrite)
        return count
