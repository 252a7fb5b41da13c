"""From finished tiles to the files of objects: a table, outlines, a picture of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from unet_deploy.images import ImageInfo
from unet_deploy.objects import Objects, write_table
from unet_deploy.objects.geojson import write_outlines
from unet_deploy.objects.parts import Page, Parts
from unet_deploy.objects.rules import Rules
from unet_deploy.objects.table import ObjectTable
from unet_deploy.segmentation.options import Coordinates
from unet_deploy.segmentation.places import frame_of, said_of
from unet_deploy.stream.pipeline import DoneTile
from unet_deploy.tiling import Region

LabelsOf = Callable[[int, Region], np.ndarray]
"""Returns the labels (h, w) of a region of a page, as they were added."""


class ObjectWriter:
    """Collects the objects of finished tiles, and writes what is asked for in `finish`.

    region: what the tiles of each page cover. table: the file that will say where they are, None for none, and in what
    coordinates.
    Raises ImageError where the image lies on no such map as is asked for, and MissingPackageError.
    """

    def __init__(
        self,
        rules: Rules,
        image: ImageInfo,
        region: Region,
        classes: Sequence[str],
        table: Path | None = None,
        coordinates: Coordinates = "auto",
    ) -> None:
        self._rules, self._image, self._region = rules, image, region
        frame = frame_of(image, coordinates if table else "pixels", table)
        self.places = said_of(image, frame, table) if table else ""
        """In what places are given, where the image lies on a map."""
        self.too_large = 0
        """Components that were to be parted and are too large for it, once they were counted."""
        self._parted: dict[int, Parts] = {}
        self.tables: list[ObjectTable] = []
        """The objects of each page, once they were counted."""
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
        labels_of: LabelsOf,
        image_of: Callable[[int, Region], np.ndarray] | None,
        sure_of: Callable[[int, Region], np.ndarray] | None = None,
        *,
        table: Path | None = None,
        number: Callable[[int, Region, np.ndarray], None] | None = None,
        overwrite: bool = False,
    ) -> int:
        """Write the table, and return how many objects there are: ids go on over the pages.

        image_of: the grey values (C, h, w) of a region of a page; None where nobody asks how bright objects are.
        sure_of: which pixels (h, w) of a region of a page reach the peak of the rules, where these have one.
        number: takes the ids (h, w) uint32 of the objects in each of the regions that were added.
        """
        tables = self.tables
        count = 0
        for page, components in enumerate(self._pages):
            if self._rules.look_again:
                grey, sure = (partial(each, page) if each else None for each in (image_of, sure_of))
                pixels = Page(self._region, partial(labels_of, page), grey, sure)
                found, tiles = components.finish(), self._components(page, labels_of)
                parts = self._parted[page] = Parts(found, pixels, self._rules, tiles, before=count)
                self.too_large += parts.too_large
                found = parts.table
            else:
                found = components.finish(count)
            tables.append(replace(found, steps=self._image.steps(page)))
            count += len(found)

        if number:
            for page in range(len(tables)):
                for region, ids in self._numbered(page, labels_of):
                    number(page, region, ids)
        if table and table.suffix.lower() == ".geojson":
            drawn = ((each, self._numbered(page, labels_of)) for page, each in enumerate(tables))
            write_outlines(table, *drawn, overwrite=overwrite)
        elif table:
            write_table(table, *tables, overwrite=overwrite)
        return count

    def ids(self, page: int, region: Region, labels_of: LabelsOf) -> np.ndarray:
        """Return the ids (h, w) uint32 of the objects in a region, once they were counted; 0 for none."""
        found = np.zeros(region.sides, np.uint32)
        for part, ids in self._numbered(page, labels_of, region):
            inside = part.intersection(region)
            found[inside.slices_in(region)] = ids[inside.slices_in(part)]
        return found

    def _numbered(
        self, page: int, labels_of: LabelsOf, touching: Region | None = None
    ) -> Iterator[tuple[Region, np.ndarray]]:
        """Yield the regions that were added, with the ids of their objects; only those that touch a region, if any."""
        for region, ids in self._components(page, labels_of, touching):
            yield region, self._parted[page].ids(region, ids) if self._parted else ids

    def _components(
        self, page: int, labels_of: LabelsOf, touching: Region | None = None
    ) -> Iterator[tuple[Region, np.ndarray]]:
        """As `_numbered`, with the ids of connected components."""
        for at, region in self._regions:
            if at == page and (touching is None or all(region.intersection(touching).sides)):
                yield region, self._pages[page].instances(region, labels_of(page, region))
