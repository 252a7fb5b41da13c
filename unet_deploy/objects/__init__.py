"""Objects of a mask that arrives tile by tile: the table, and the number of each pixel's object.

One pass, and memory for the borders of the tile rows at hand, the objects that cross them, and a row of the table for
each object that is whole. The answer is that for the whole mask at once, whatever the tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from unet_deploy.objects.files import TABLE_SUFFIXES, write_table
from unet_deploy.objects.frame import FINEST, Frame
from unet_deploy.objects.holes import Rims, count_corners, fill, no_pairs
from unet_deploy.objects.records import measured, merged, record_type, row_type, rows_of
from unet_deploy.objects.runs import Borders, Connectivity, Runs, Touching, background_first, components
from unet_deploy.objects.table import ObjectTable
from unet_deploy.tiling import Region

__all__ = ["TABLE_SUFFIXES", "Connectivity", "Frame", "ObjectTable", "Objects", "write_table"]


@dataclass(frozen=True)
class _TileObjects:
    """What a tile leaves behind until its row of tiles is complete. Components count from 0 in each tile."""

    region: Region
    records: np.ndarray
    borders: Borders
    """Components, int32, -1 for none."""
    rims: Rims


class Objects:
    """Collects tiles that cover a region of an image once, cut into rows of one height each.

    An object is a connected component of the pixels of one class; class 0 is background. Regions may come in any
    order, but what is held follows the rows of tiles that are begun and not complete.

    region: what the tiles cover; tiles and the table alike are in pixels of the image.
    channels: of the image. classes: their names, background first.
    connectivity: the neighbours of a pixel, 4 or 8.
    min_size: objects of fewer pixels are left out.
    fill_holes: background that borders on one object alone, and not on the border of the image, belongs to that
    object. Background around an object inside another borders on two, and stays.
    frame: where its pixels lie at full resolution, and how large they are; the table is in these terms.

    Two tiles of a mask, and the object that crosses the seam:

        1 1 | 1 .        ids   1 1 1 .
        . . | 1 .              . . 1 .
        2 . | . .              2 . . .

    >>> labels = np.array([[1, 1, 1, 0], [0, 0, 1, 0], [2, 0, 0, 0]], np.uint8)
    >>> tiles = [Region(0, 0, 3, 2), Region(0, 2, 3, 2)]
    >>> objects = Objects(Region(0, 0, 3, 4), channels=1, classes=("background", "nucleus", "debris"))
    >>> for tile in tiles:
    ...     objects.add(tile, 10 * labels[None][(..., *tile.slices)], labels[tile.slices])
    >>> columns = objects.finish().columns()
    >>> columns["class_name"].tolist(), columns["area_px"].tolist(), columns["mean_intensity"].tolist()
    (['nucleus', 'debris'], [4, 1], [10.0, 20.0])
    >>> np.hstack([objects.instances(tile, labels[tile.slices]) for tile in tiles]).tolist()
    [[1, 1, 1, 0], [0, 0, 1, 0], [2, 0, 0, 0]]
    """

    def __init__(
        self,
        region: Region,
        *,
        channels: int,
        classes: Sequence[str],
        connectivity: Connectivity = 8,
        min_size: int = 0,
        fill_holes: bool = False,
        frame: Frame = FINEST,
    ) -> None:
        self._region, self._channels = region, channels
        self._height, self._width = region.sides
        self._classes, self._frame = tuple(classes), frame
        self._connectivity, self._holes, self._min_size = connectivity, fill_holes, min_size
        self._offsets: dict[Region, int] = {}
        self._count = 0
        # Tiles of the rows that are not complete, by y; the rows above `_done` are.
        self._rows: dict[int, list[_TileObjects]] = {}
        self._done = 0
        # What crosses the line between the rows above and those to come, or waits for what does.
        self._live = np.zeros(0, record_type(channels))
        self._line = np.full(region.width, -1, np.int32)
        self._rims = Rims.none()
        self._whole = [np.zeros(0, row_type(channels))]
        self._joins: list[tuple[np.ndarray, np.ndarray]] = []
        self._numbers: np.ndarray | None = None

    def add(self, region: Region, image: np.ndarray, labels: np.ndarray) -> None:
        """Add a region that was not added before. image: (C, h, w) grey values; labels: (h, w) uint8, class indices."""
        runs, touching, count, owner = self._components(labels)
        place = region.moved(-self._region.y, -self._region.x)  # sums are of small numbers, wherever the region lies
        records = measured(runs, touching, owner, count, place, image, self._width)
        records["root"] = self._count + np.arange(count)
        rims = Rims.none()
        if self._holes:
            count_corners(records, owner, touching, self._connectivity)
            at_border = (records["top"] == 0) | (records["left"] == 0)
            at_border |= (records["bottom"] == self._height) | (records["right"] == self._width)
            records["outside"] = at_border & (records["label"] == 0)
            beside = np.concatenate([touching.beside, background_first(runs.in_row, runs.labels)], axis=1)
            rims = Rims(beside, touching.crossing).mapped(owner)
        self._offsets[region] = self._count
        self._count += count
        self._rows.setdefault(place.y, []).append(_TileObjects(place, records, runs.borders(owner), rims))
        while self._done in self._rows and sum(p.region.width for p in self._rows[self._done]) == self._width:
            self._settle(self._rows.pop(self._done))

    def finish(self, before: int = 0) -> ObjectTable:
        """Return the table, once every region was added. Objects count on in raster order of their first pixels.

        before: how many the pages before this one have, so that no two objects of a stack have one id.
        """
        if self._done < self._height:
            raise RuntimeError(f"objects: tiles of the row at y = {self._done} were never added")
        first = np.concatenate([rows["first"] for rows in self._whole])
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        del first
        table = np.empty(len(rank), row_type(self._channels))
        self._numbers = np.zeros(self._count + 1, np.uint32)  # one more: index -1 is background
        while self._whole:
            rows = self._whole.pop()
            place, rank = rank[len(rank) - len(rows) :], rank[: len(rank) - len(rows)]
            table[place] = rows
            self._numbers[rows["root"]] = before + place + 1
        # The latest first: what an object was joined to may itself have been joined to another later.
        while self._joins:
            parts, roots = self._joins.pop()
            self._numbers[parts] = self._numbers[roots]
        for axis, origin in zip("yx", self._region.origin, strict=True):
            table[f"centroid_{axis}"] += origin
            table[f"bbox_{axis}"] += origin
        return ObjectTable(table, self._classes, frame=self._frame, before=before)

    def instances(self, region: Region, labels: np.ndarray) -> np.ndarray:
        """Return the id of each pixel's object, (h, w) uint32 and 0 for none.

        The region must have been added, with these labels.
        """
        if self._numbers is None:
            raise RuntimeError("objects: ids are known after finish()")
        runs, _, _, owner = self._components(labels)
        return runs.painted(self._numbers[np.where(owner < 0, -1, owner + np.int64(self._offsets[region]))])

    def _components(self, labels: np.ndarray) -> tuple[Runs, Touching, int, np.ndarray]:
        """Return the runs of a tile, how they touch, how many components they make, and that of each, -1 for none."""
        runs = Runs.of(labels)
        touching = Touching.of(runs, self._connectivity, holes=self._holes)
        if self._holes:
            return runs, touching, *components(touching.joined, len(runs))
        mine = runs.labels != 0
        place = np.cumsum(mine) - 1
        owner = np.full(len(runs), -1, np.int32)
        count, owner[mine] = components(place[touching.joined], int(mine.sum()))
        return runs, touching, count, owner

    def _settle(self, row: list[_TileObjects]) -> None:
        """Join a complete row of tiles to what is live above it; keep what goes on below, put away what is whole."""
        row.sort(key=lambda part: part.region.x)
        if len({part.region.height for part in row}) > 1:
            raise ValueError(f"tiles of the row at y = {self._done} differ in height")
        records = np.concatenate([self._live, *(part.records for part in row)])
        offsets = len(self._live) + np.cumsum([0, *(len(part.records) for part in row)])
        lines = [
            Borders(*(np.where(line < 0, -1, line + offset) for line in part.borders))
            for part, offset in zip(row, offsets, strict=False)
        ]
        seams = [("across", np.stack([one.right, other.left])) for one, other in pairwise(lines)]
        if self._done:
            seams.append(("down", np.stack([self._line, np.concatenate([line.top for line in lines])])))
        pairs, rims = [no_pairs()], [self._rims, *(p.rims.moved(o) for p, o in zip(row, offsets, strict=False))]
        for direction, seam in seams:
            joined, met = self._sew(records, seam, direction)
            pairs.append(joined)
            rims.append(met)

        count, group = components(np.concatenate(pairs, axis=1), len(records))
        whole = merged(records, group, count)
        self._join(records["root"], whole["root"][group])
        bottom = np.concatenate([line.bottom for line in lines])
        self._done += row[0].region.height
        is_open = np.zeros(count, bool)
        if self._done < self._height:
            is_open[group[bottom[bottom >= 0]]] = True
        live = is_open
        if self._holes:
            filling = fill(whole, is_open, Rims.of(rims).mapped(group))
            self._join(whole["root"], filling.records["root"][filling.place])
            whole, group, self._rims = filling.records, filling.place[group], filling.rims
            live = filling.waiting
            live[filling.place[is_open]] = True
        ended = whole[~live & (whole["label"] != 0) & (whole["area"] >= self._min_size)]
        self._whole.append(rows_of(ended, self._frame.stretch))
        self._live = whole[live]
        place = np.where(live, np.cumsum(live) - 1, -1).astype(np.int32)
        self._rims = self._rims.mapped(place)
        self._line = np.append(place[group], np.int32(-1))[bottom]

    def _sew(self, records: np.ndarray, seam: np.ndarray, direction: str) -> tuple[np.ndarray, Rims]:
        """Count what touches across a seam; return the records to join, (2, m) intp, and the rims that meet there.

        seam: (2, n), the record of each pixel on both sides, -1 for none. direction: of the lines that cross it, across
        or down.
        """
        runs = Runs.of(np.append(records["label"], np.uint8(0))[seam])
        owner = seam.ravel()[runs.starts]
        touching = Touching.of(runs, self._connectivity, holes=self._holes)
        joined = owner[touching.joined]
        np.subtract.at(records[direction], joined[0], touching.straight)
        np.subtract.at(records["diagonal"], joined[0], touching.diagonal)
        if not self._holes:
            return joined, Rims.none()
        count_corners(records, owner, touching, self._connectivity)
        return joined, Rims(touching.beside, touching.crossing).mapped(owner)

    def _join(self, parts: np.ndarray, roots: np.ndarray) -> None:
        """Remember that these provisional numbers stand for the same objects as those."""
        other = parts != roots
        self._joins.append((parts[other], roots[other]))
