"""The objects of one page where those that touch are parted: out of core, from the components that `Objects` finds.

How a component is parted depends on its own pixels, and on the diameter of the page's objects. So the mask is read once
more after its last tile, and the answer is that for the whole mask at once, whatever the tiles were. Which objects the
model is nowhere sure of is seen then too. What is held is a row of the table for each object, and the packed parts of
each component that was parted.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from unet_deploy.objects import Objects
from unet_deploy.objects.crops import Crop, Cutter
from unet_deploy.objects.records import measured, perimeters, rows_of
from unet_deploy.objects.rules import Rules
from unet_deploy.objects.runs import Runs, Touching
from unet_deploy.objects.split import Parting
from unet_deploy.objects.table import ObjectTable
from unet_deploy.objects.typical import diameter
from unet_deploy.tiling import Region


@dataclass(frozen=True)
class Page:
    """What is known of a page once its tiles are done. Regions are in pixels of the image."""

    region: Region
    """What tiles covered."""
    labels: Callable[[Region], np.ndarray]
    """Returns the class indices, (h, w) uint8, of a region."""
    image: Callable[[Region], np.ndarray] | None = None
    """Returns the grey values, (C, h, w), of a region; None where nobody asks for them."""
    sure: Callable[[Region], np.ndarray] | None = None
    """Returns which pixels of a region, (h, w) bool, reach the peak of the rules; None where these have none."""


@dataclass(frozen=True)
class _Cut:
    """A component that was parted."""

    index: int
    """Among all components."""
    drawn: _Drawn
    rows: np.ndarray
    """(k,) of `row_type`, its parts."""


@dataclass(frozen=True)
class _Drawn:
    """Which pixels the parts of a component have."""

    box: Region
    packed: bytes

    @classmethod
    def of(cls, box: Region, parts: np.ndarray) -> _Drawn:
        """Keep parts (h, w) int32 from 1, 0 for none."""
        return cls(box, zlib.compress(parts.tobytes(), 1))

    def parts(self) -> np.ndarray:
        """Return the part of each pixel, (h, w) int32 from 1; 0 for none."""
        return np.frombuffer(zlib.decompress(self.packed), np.int32).reshape(self.box.sides)


LARGEST = 2048 * 2048
"""Pixels of the bounding box of a component beyond which it stays in one piece: it is looked at in memory."""

_BYTES = 60
"""For a pixel of the largest component that is looked at, while it is."""


def most_bytes(region: Region, rules: Rules) -> int:
    """Return what is held at most while components of a region are looked at, the largest by itself."""
    return _BYTES * min(LARGEST, region.height * region.width) if rules.split else 0


class Parts:
    """The objects of a page by rules. Ids count in raster order of first pixels, as those of components do.

    components: the table that `Objects.finish` returned for the page, whose ids count from 1.
    tiles: regions that cover the page, each with its components as `Objects.instances` returned them; they are looked
    at where the rules have a peak.
    before: how many objects the pages before this one have.
    """

    table: ObjectTable
    """The objects."""
    too_large: int
    """How many components stayed in one piece because they span too much to be looked at in memory."""

    def __init__(
        self,
        components: ObjectTable,
        page: Page,
        rules: Rules,
        tiles: Iterable[tuple[Region, np.ndarray]] = (),
        *,
        before: int = 0,
    ) -> None:
        rows = components.rows
        self._page, self._rules, self._stretch = page, rules, components.frame.stretch
        self._channels = rows.dtype["mean_intensity"].shape[0]
        across = diameter(rows["area"], perimeters(rows, 1, 1)) or 0.0
        least = rules.least(across)
        fits = rows["bbox_height"].astype(np.int64) * rows["bbox_width"] <= LARGEST
        self.too_large = int((~fits).sum()) if rules.split else 0
        large = np.flatnonzero(fits & (rows["area"] >= least))
        cuts = list(self._cut(rows, large, rules.parting(across))) if rules.split else []
        self._drawn = [cut.drawn for cut in cuts]
        corners = [(*each.box.origin, each.box.bottom, each.box.right) for each in self._drawn]
        self._tops, self._lefts, self._bottoms, self._rights = np.array(corners, np.int64).reshape(-1, 4).T
        self._whole = np.ones(len(rows), bool)
        self._whole[[cut.index for cut in cuts]] = False
        self._ends = self._whole.sum() + np.cumsum([0, *(len(cut.rows) for cut in cuts)])

        objects = np.concatenate([rows[self._whole], *(cut.rows for cut in cuts)])
        counts = objects["area"] >= least
        if rules.peak:
            counts &= self._sure(len(objects), tiles)
        counted = np.flatnonzero(counts)
        counted = counted[np.argsort(objects["first"][counted])]
        self.table = replace(components, rows=objects[counted], before=before)
        ids = np.zeros(len(objects), np.uint32)
        ids[counted] = np.arange(before + 1, before + 1 + len(counted))
        self._number(ids)

    def _number(self, ids: np.ndarray) -> None:
        """Let objects have these ids, (n,) uint32 and 0 for none: whole components first, then parts."""
        self._ids = np.zeros(len(self._whole) + 1, np.uint32)  # of components, from 1: those that were cut have none
        self._ids[1:][self._whole] = ids[: self._ends[0]]
        self._ids_of_parts = [np.append(np.uint32(0), ids[start:end]) for start, end in pairwise(self._ends)]

    def _sure(self, count: int, tiles: Iterable[tuple[Region, np.ndarray]]) -> np.ndarray:
        """Whether each object reaches the peak of the rules somewhere, (count,) bool."""
        assert self._page.sure
        self._number(np.arange(1, count + 1, dtype=np.uint32))
        found = np.zeros(count + 1, bool)
        for region, components in tiles:
            found[self.ids(region, components)[self._page.sure(region)]] = True
        return found[1:]

    def ids(self, region: Region, components: np.ndarray) -> np.ndarray:
        """Return the id of each pixel's object, (h, w) uint32 and 0 for none.

        components: (h, w) uint32, what `Objects.instances` returned for the region.
        """
        ids = self._ids[components]
        near = (self._tops < region.bottom) & (self._bottoms > region.y)
        near &= (self._lefts < region.right) & (self._rights > region.x)
        for at in np.flatnonzero(near):
            drawn = self._drawn[at]
            inside = drawn.box.intersection(region)
            parts = drawn.parts()[inside.slices_in(drawn.box)]
            mine = ids[inside.slices_in(region)]
            mine[parts > 0] = self._ids_of_parts[at][parts[parts > 0]]
        return ids

    def _cut(self, rows: np.ndarray, which: np.ndarray, parting: Parting) -> Iterator[_Cut]:
        """Yield the components that are more than one object. which: (n,) the indices of those to be looked at."""
        cutter = Cutter(self._page.region, self._page.labels, self._rules.connectivity, self._rules.fill_holes)
        for crops in cutter.crops(rows[which]):
            for crop, parts in zip(crops, parting.parts_of([crop.shape for crop in crops]), strict=True):
                if parts is not None:
                    index = int(which[crop.index])
                    found = self._measured(crop, parts, rows["label"][index])
                    yield _Cut(index, _Drawn.of(crop.box, parts), found)

    def _measured(self, crop: Crop, parts: np.ndarray, label: int) -> np.ndarray:
        """Return the rows of the parts of a component."""
        region = self._page.region
        runs = Runs.of(parts)
        touching = Touching.of(runs, self._rules.connectivity, holes=False)
        place = crop.box.moved(-region.y, -region.x)
        owner = (runs.labels - 1).astype(np.int32)
        nothing = np.zeros((self._channels, *crop.box.sides), np.uint8)
        image = self._page.image(crop.box) if self._page.image else nothing
        records = measured(runs, touching, owner, int(parts.max()), place, image, region.width)
        records["label"] = label
        rows = rows_of(records, self._stretch)
        rows["bbox_y"] += region.y
        rows["bbox_x"] += region.x
        rows["centroid_y"] += region.y
        rows["centroid_x"] += region.x
        return rows


def objects_of(labels: np.ndarray, rules: Rules, probabilities: np.ndarray | None = None) -> np.ndarray:
    """Number the objects of a whole mask (H, W) uint8 of class indices: (H, W) uint32, 0 for none.

    They are those that a mask of any size has which is made tile by tile. probabilities: (K, H, W), which rules with a
    peak look at; without them every object counts as sure.
    """
    everywhere = Region(0, 0, *labels.shape)
    objects = Objects(
        everywhere,
        channels=0,
        classes=(),
        connectivity=rules.connectivity,
        min_size=rules.min_size,
        fill_holes=rules.fill_holes,
    )
    objects.add(everywhere, np.zeros((0, *labels.shape), np.uint8), labels)
    table = objects.finish()
    ids = objects.instances(everywhere, labels)
    if not rules.look_again:
        return ids

    def sure(region: Region) -> np.ndarray:
        if probabilities is None:
            return np.ones(region.sides, bool)
        return rules.sure(probabilities[(slice(None), *region.slices)])

    page = Page(everywhere, lambda region: labels[region.slices], sure=sure)
    return Parts(table, page, rules, [(everywhere, ids)]).ids(everywhere, ids)
