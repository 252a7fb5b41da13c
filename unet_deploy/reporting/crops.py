"""Which places of an image are shown at full resolution, and what is on them.

Rules, in this order; a place that is shown already is not shown again:

    most objects     the fields with the most objects, by their centroids
    least certain    the fields in which the model is most in doubt, where it gives probabilities
    largest object   its middle
    smallest object  its middle

Of several alike the first in the table, or from the top, is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_deploy.images import ImageSource
from unet_deploy.images.contrast import Contrast, contrast_of
from unet_deploy.images.orientation import UPRIGHT
from unet_deploy.masks.overlay import Overlay
from unet_deploy.objects.table import ObjectTable
from unet_deploy.reporting.survey import FIELD, DoubtfulField, field_at
from unet_deploy.segmentation.counting import LabelsOf
from unet_deploy.tiling import Region

EACH = 2
"""Fields that are shown by a rule."""

Extreme = Callable[[Any], Any]
"""Of numbers: the largest, or the least."""

_LEAST, _MOST = 96, 512
"""Side in pixels of what is shown of an object: so much of what is around, and no more of what is larger."""


@dataclass(frozen=True)
class Place:
    """A part of a page that is to be shown."""

    why: str
    page: int
    region: Region
    """In pixels of the level that was segmented, as they are stored."""
    note: str
    """What was counted or measured there, in words."""
    box: Region | None = None
    """Of the object that it is about, in the same pixels; None for a field."""


@dataclass(frozen=True)
class ShownPlace:
    """A place with its pictures, (h, w, 3) uint8 and upright: a pixel for each of the image."""

    place: Place
    image: np.ndarray
    with_mask: np.ndarray
    is_upright: bool
    """Whether the pictures lie as the pixels are stored."""


def choose(tables: Sequence[ObjectTable], doubtful: Sequence[DoubtfulField], region: Region) -> list[Place]:
    """Return the places to show. region: what was segmented of each page; doubtful: of most doubt first."""
    chosen: list[Place] = []
    for rule in (
        list(_of_most_objects(tables, region)),
        [_of_doubt(each, region) for each in doubtful],
        list(_of_object("largest object", np.max, tables, region)),
        list(_of_object("smallest object", np.min, tables, region)),
    ):
        shown = {(place.page, place.region) for place in chosen}
        new = [place for place in rule if (place.page, place.region) not in shown]
        chosen += new[:EACH]
    return chosen


@dataclass(frozen=True)
class Files:
    """An image, its mask, and the numbers of its objects, to be looked at again."""

    image: ImageSource
    """At its level."""
    mask: ImageSource
    classes: tuple[str, ...]
    ids: Callable[[int, Region, LabelsOf], np.ndarray]
    """As `OutputWriter.ids`."""

    outside: int
    """What the mask has where there is no data; as of `Subject`."""

    def labels(self, page: int, region: Region) -> np.ndarray:
        """The classes of a region, (h, w) uint8; 0 where there is no data. Raises ImageError."""
        found = self.mask.crop(page, region)[0]
        if self.outside and (found == self.outside).any():
            data = self.image.data_in(page, region, self.image.crop(page, region))
            found = found if data is None else np.where(data, found, np.uint8(0))
        return found


def draw(places: Sequence[Place], files: Files) -> list[ShownPlace]:
    """Read places again, and draw them between the same two grey values. Raises ImageError."""
    read = [_Pixels.of(place, files) for place in places]
    if not read:
        return []
    contrast = contrast_of(np.concatenate([each.shown for each in read]))
    return [each.drawn(files.classes, contrast) for each in read]


@dataclass(frozen=True)
class _Pixels:
    """What is on a place."""

    place: Place
    grey: np.ndarray
    """(C, h, w)."""
    labels: np.ndarray
    """(h, w) uint8."""
    ids: np.ndarray
    """(h, w) uint32, of the objects that were counted."""
    data: np.ndarray | None
    """(h, w) bool, which pixels hold data; None where all do."""
    orientation: int

    @classmethod
    def of(cls, place: Place, files: Files) -> _Pixels:
        where = place.page, place.region
        grey = files.image.crop(*where)
        ids = files.ids(*where, files.labels)
        data = files.image.data_in(*where, grey)
        return cls(place, grey, files.labels(*where), ids, data, files.image.info.orientation)

    @property
    def shown(self) -> np.ndarray:
        """The grey values that are shown and hold data, (n,), all channels together."""
        shown = self.grey if len(self.grey) == 3 else self.grey[:1]
        return shown.ravel() if self.data is None or not self.data.any() else shown[:, self.data].ravel()

    def drawn(self, classes: Sequence[str], contrast: Contrast) -> ShownPlace:
        """The place with its pictures."""
        image, with_mask = (self._picture(labels, classes, contrast) for labels in (self.labels * 0, self.labels))
        return ShownPlace(self.place, image, with_mask, is_upright=self.orientation == UPRIGHT)

    def _picture(self, labels: np.ndarray, classes: Sequence[str], contrast: Contrast) -> np.ndarray:
        everywhere = Region(0, 0, *labels.shape)
        picture = Overlay(everywhere, len(self.grey), classes, self.orientation)
        picture.add(everywhere, self.grey, labels, self.data)
        return picture.picture(contrast, self.ids)


def _of_most_objects(tables: Sequence[ObjectTable], region: Region) -> Iterator[Place]:
    """The fields of all pages with objects, those with the most first."""
    columns = -(-region.width // FIELD)
    fields = columns * -(-region.height // FIELD)
    at = [np.zeros(0, np.int64)]
    for page, table in enumerate(tables):
        y, x = (
            np.clip((table.rows[f"centroid_{axis}"] - first) // FIELD, 0, None).astype(np.int64)
            for axis, first in zip("yx", region.origin, strict=True)
        )
        at.append(page * fields + y * columns + x)
    numbers, counts = np.unique(np.concatenate(at), return_counts=True)
    for most in np.argsort(-counts, kind="stable")[: 2 * EACH].tolist():
        page, field = divmod(int(numbers[most]), fields)
        row, column = divmod(field, columns)
        count = int(counts[most])
        note = f"{count} object{'s' if count > 1 else ''} by centroid"
        yield Place("most objects", page, field_at(row, column, FIELD, region), note)


def _of_doubt(field: DoubtfulField, region: Region) -> Place:
    mean = field.doubt / (field.height * field.width)
    middle = field.y + field.height // 2, field.x + field.width // 2
    shown = field.region if max(field.region.sides) <= _MOST else _around(middle, _MOST, region)
    return Place("least certain", field.page, shown, f"mean squared doubt {mean:.4f}; 1 is a coin's toss")


def _of_object(why: str, extreme: Extreme, tables: Sequence[ObjectTable], region: Region) -> Iterator[Place]:
    """The middle of the object of all pages whose area is the extreme, where there is one."""
    found = []
    for page, table in enumerate(tables):
        if len(table):
            area = int(extreme(table.rows["area"]))
            found.append((area, page, int(np.flatnonzero(table.rows["area"] == area)[0])))
    if not found:
        return
    wanted = extreme([area for area, _, _ in found])
    _, page, at = next(each for each in found if each[0] == wanted)
    row, columns = tables[page].rows[at], tables[page].columns(slice(at, at + 1))
    box = Region(*(int(row[f"bbox_{name}"]) for name in ("y", "x", "height", "width")))
    side = min(_MOST, max(_LEAST, 2 * max(box.sides)))
    around = _around((box.y + box.height // 2, box.x + box.width // 2), side, region)
    yield Place(why, page, around, f"object {columns['id'][0]}, {columns['area_px'][0]} px", box)


def _around(middle: tuple[int, int], side: int, region: Region) -> Region:
    """The square about a pixel, moved into a region and cut to it."""
    sides = [min(side, length) for length in region.sides]
    corner = [
        min(max(at - length // 2, first), first + whole - length)
        for at, length, first, whole in zip(middle, sides, region.origin, region.sides, strict=True)
    ]
    return Region(corner[0], corner[1], sides[0], sides[1])
