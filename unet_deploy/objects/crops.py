"""Whole components, cut out of a mask that is read window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from unet_deploy.objects.holes import Rims, no_pairs
from unet_deploy.objects.runs import Connectivity, Runs, Touching, background_first, components
from unet_deploy.tiling import Region

_WINDOW = 1024
"""Side in pixels of the squares by which components are read together, each with the square that it begins in: so
blocks of the mask are decoded about once."""

_ALONE = 512
"""Side in pixels of the bounding box from which a component is read by itself."""


@dataclass(frozen=True)
class Crop:
    """A component in its bounding box."""

    index: int
    """Among the rows that were given."""
    box: Region
    """In pixels of the image."""
    shape: np.ndarray
    """(h, w) bool."""


@dataclass(frozen=True)
class Cutter:
    """Cuts components out of a page of a mask."""

    region: Region
    """What tiles covered of the page."""
    labels: Callable[[Region], np.ndarray]
    """Returns the class indices, (h, w) uint8, of a region."""
    connectivity: Connectivity
    fill_holes: bool

    def crops(self, rows: np.ndarray) -> Iterator[list[Crop]]:
        """Yield components that lie near one another, of (n,) `objects.records.row_type` as `Objects.finish` has them.

        A component is whole in its bounding box, and so are its holes: what a window cuts is of others.
        """
        for some in _near(rows):
            boxes = [_box(row) for row in rows[some]]
            top, left = min(box.y for box in boxes), min(box.x for box in boxes)
            bottom, right = max(box.bottom for box in boxes), max(box.right for box in boxes)
            window = Region(top, left, bottom - top, right - left)
            owners = whole_components(self.labels(window), self.connectivity, fill_holes=self.fill_holes)
            first_y, first_x = np.divmod(rows["first"][some], self.region.width)
            own = owners[first_y + self.region.y - top, first_x + self.region.x - left]
            yield [
                Crop(int(index), box, owners[box.slices_in(window)] == owner)
                for index, box, owner in zip(some, boxes, own, strict=True)
            ]


def _near(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indices of components that are read together, (n,) intp."""
    alone = np.maximum(rows["bbox_height"], rows["bbox_width"]) > _ALONE
    for index in np.flatnonzero(alone):
        yield np.array([index])
    together = np.flatnonzero(~alone)
    square = np.stack([rows["bbox_y"][together] // _WINDOW, rows["bbox_x"][together] // _WINDOW])
    order = np.lexsort(square[::-1])
    ends = np.flatnonzero(np.diff(square[:, order], axis=1).any(axis=0)) + 1
    yield from (some for some in np.split(together[order], ends) if len(some))


def _box(row: np.void) -> Region:
    return Region(*(int(row[f"bbox_{name}"]) for name in ("y", "x", "height", "width")))


def whole_components(labels: np.ndarray, connectivity: Connectivity, *, fill_holes: bool) -> np.ndarray:
    """Return the component of each pixel, (h, w) int32; -1 for background that is no hole. labels: (h, w) integers.

    What reaches the border may be a part of something larger; background that does is no hole.

    >>> ring = np.pad(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]), ((0, 0), (0, 1)))
    >>> whole_components(ring, 4, fill_holes=True)[1].tolist()
    [0, 0, 0, -1]
    """
    runs = Runs.of(labels)
    touching = Touching.of(runs, connectivity, holes=True)
    count, owner = components(touching.joined, len(runs))
    taker = np.arange(count, dtype=np.int32)
    is_background = np.zeros(count, bool)
    is_background[owner[runs.labels == 0]] = True
    taker[is_background] = -1
    if fill_holes:
        beside = np.concatenate([touching.beside, background_first(runs.in_row, runs.labels)], axis=1)
        hole, neighbour = Rims(beside, no_pairs()).mapped(owner).beside
        at_border = np.zeros(count, bool)
        at_border[np.concatenate(runs.borders(owner))] = True
        alone = ~at_border[hole] & (np.bincount(hole, minlength=count)[hole] == 1)
        taker[hole[alone]] = neighbour[alone]
    return runs.painted(taker[owner])
