"""The files that are looked at together, one over another, and the pictures of their tiles, which are kept a while."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from cachetools import LRUCache
from typing_extensions import Self

from unet_deploy.errors import UsageError, address
from unet_deploy.images import ImageSource
from unet_deploy.images.orientation import shown_region, stored_region
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.tiling import Region
from unet_deploy.viewing.contrast import Shade, measured_shades
from unet_deploy.viewing.difference import Counting, Counts
from unet_deploy.viewing.layer import GreyLayer, LabelLayer, Layer, ProbabilityLayer
from unet_deploy.viewing.named import Named, Over
from unet_deploy.viewing.planes import as_channels
from unet_deploy.viewing.shown import (
    ShownDifference,
    ShownFile,
    ShownImage,
    ShownMask,
    ShownProbabilities,
    layers_of,
    page_of,
)
from unet_deploy.viewing.table import Table, TableFile

CACHE_BYTES = 64 << 20
"""Of the pictures that are kept, all files together."""


@dataclass(frozen=True)
class Place:
    """Which tile of the screen; zooms, columns and rows are counted as `Zooms` does."""

    page: int
    zoom: int
    column: int
    row: int


@dataclass(frozen=True)
class Picture:
    """A tile as a browser gets it."""

    data: bytes
    """PNG."""
    is_final: bool
    """Whether it looks the same when it is asked for again; not while an overview is being made."""


class Scene:
    """Files that show the same area, the lowest first. Several threads may ask it. A context manager.

    table: of the objects of the first. Raises UsageError where there are no files, and where one does not lie on the
    first.
    """

    def __init__(self, files: Sequence[ShownFile], table: TableFile | None = None) -> None:
        if not files:
            raise UsageError("nothing to look at; name an image or a mask")
        self.files = tuple(files)
        self.table = table
        for other in files[1:]:
            _check_lies_on(other.layer, files[0].layer)
        self.difference = _difference_of(files)
        """Of the first mask and the last; None where there is but one, or they are of two sizes."""
        self._counting: Counting | None = None
        self._lock = threading.Lock()
        self._kept: LRUCache[object, bytes] = LRUCache(CACHE_BYTES, getsizeof=len)

    def file(self, number: int) -> ShownFile:
        """A file by its number from 0. Raises UsageError where there is none."""
        if not 0 <= number < len(self.files):
            raise UsageError(f"there is no file {number}; there are {len(self.files)}, counted from 0")
        return self.files[number]

    def tile(self, number: int, place: Place, look: str) -> Picture:
        """A tile of a file, or of the difference after the last of them. look: how it is drawn.

        Raises UsageError for what there is not, and ImageError.
        """
        is_file = self.difference is None or number != len(self.files)
        file = self.file(number) if is_file else self.difference
        assert file is not None
        self._check_page(place.page)
        key = number, place, look
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None:
            return Picture(kept, is_final=True)
        layers = layers_of(file)
        tile = layers[0].zooms.tile(place.zoom, place.column, place.row)
        before = [(layer.is_settled, layer.overview) for layer in layers]
        data = file.draw(place.page, tile, look)
        is_final = before == [(True, layer.overview) for layer in layers]
        if is_final:
            with self._lock:
                self._kept[key] = data
        return Picture(data, is_final)

    def shades(self, number: int, page: int) -> tuple[Shade, ...]:
        """How the channels of an image are best shown at first. Raises UsageError where it is none, and ImageError."""
        self._check_page(page)
        image = self.file(number)
        if not isinstance(image, ShownImage):
            raise UsageError(f"{image.name}: is a mask, which has no contrast")
        return measured_shades(image.layer, page_of(image.layer, page))

    def values(self, page: int, y: int, x: int) -> tuple[tuple[float, ...], ...]:
        """The stored numbers of each file under a pixel of the first. Raises UsageError and ImageError."""
        self._check_page(page)
        first = self.files[0].layer.zooms
        if not (0 <= y < first.height and 0 <= x < first.width):
            raise UsageError(f"there is no pixel {y}, {x}; there are {first.height} x {first.width}")
        found = []
        for file in self.files:
            zooms = file.layer.zooms
            at = y * zooms.height // first.height, x * zooms.width // first.width
            found.append(file.layer.value(page_of(file.layer, page), *at))
        return tuple(found)

    def _check_page(self, page: int) -> None:
        """Raise UsageError unless a file has this page; those of one page lie under all pages of the others."""
        pages = max(file.layer.info.pages for file in self.files)
        if not 0 <= page < pages:
            raise UsageError(f"there is no page {page}; there are {pages}, counted from 0")

    def stored(self, region: Region) -> Region:
        """Where a region of the first file as it is shown lies as it is stored. Raises UsageError for one outside."""
        zooms = self.files[0].layer.zooms
        if region.y < 0 or region.x < 0 or region.bottom > zooms.height or region.right > zooms.width:
            raise UsageError(f"{region.y}, {region.x}: lies outside; there are {zooms.height} x {zooms.width} pixels")
        return stored_region(region, self.files[0].layer.info)

    def objects(self) -> Table:
        """The table of objects, once it is read. Raises UsageError where there is none."""
        if self.table is None:
            raise UsageError("there is no table; name one that `segment --objects` wrote")
        return self.table.read()

    def row_at(self, page: int, y: int, x: int) -> int | None:
        """The row of the object under a pixel of the first file; None where there is no object or it has no row.

        By its number, where a file numbers objects and the object of that number lies there, since a truth numbers
        its objects otherwise; by the boxes of objects otherwise. Raises UsageError and ImageError.
        """
        table, at = self.objects(), self.stored(Region(y, x, 1, 1))
        values = zip(self.files, self.values(page, y, x), strict=True)
        found = [(file, int(value[0])) for file, value in values if isinstance(file, ShownMask)]
        if found and not any(number for _, number in found):
            return None
        rows = [table.numbered(number) for file, number in found if file.numbers_objects and number]
        there = [row for row in rows if row is not None and table.lies_at(row, page, at.y, at.x)]
        return there[0] if there else table.at(page, at.y, at.x)

    def place(self, row: int) -> tuple[int, Region]:
        """On which page an object lies and where, as it is shown. Raises UsageError."""
        page, region = self.objects().place(row)
        return page, shown_region(region, self.files[0].layer.info)

    def counts(self, page: int) -> Counts:
        """How often two masks differ on a page, as far as that is counted. Raises UsageError and ImageError."""
        self._check_page(page)
        if self.difference is None:
            raise UsageError("there are no two masks of one size to compare; name two")
        with self._lock:
            if self._counting is None or self._counting.page != page:
                first, second = self.difference.first.layer.reopen, self.difference.second.layer.reopen
                self._counting = Counting(first, second, page, by_class=self.difference.by_class, after=self._counting)
            counting = self._counting
        if counting.failed is not None:
            raise counting.failed
        return counting.counts

    def close(self) -> None:
        if self._counting is not None:
            self._counting.give_up()
        for file in self.files:
            file.layer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_scene(named: Named) -> Scene:
    """Open files that were named to be looked at together.

    Raises ImageError, and UsageError where one does not lie on the first, or a mask holds no labels.
    """
    with ExitStack() as opened:
        reading = named.reading
        image = GreyLayer(lambda: reading.open(named.image), kept_as=repr(reading))
        files: list[ShownFile] = [ShownImage(address(named.image), opened.enter_context(image))]
        for over in named.over:
            shown = _shown_over(over, replace(AS_SAID, timeout=reading.timeout))
            opened.enter_context(shown.layer)
            files.append(shown)
        scene = Scene(files, TableFile(named.table, image.info) if named.table else None)
        opened.pop_all()
        return scene


def _shown_over(over: Over, reading: Reading) -> ShownMask | ShownProbabilities:
    """Open what lies over an image: floats are probabilities, integers labels."""

    def opening() -> ImageSource:
        return as_channels(reading.open_labels(over.path), len(over.classes))

    with opening() as source:
        is_float = source.info.dtype.kind == "f"
    name = address(over.path)
    if is_float:
        return ShownProbabilities(name, ProbabilityLayer(opening, kept_as="probabilities"), over.classes)
    return ShownMask(name, LabelLayer(lambda: reading.open_labels(over.path), kept_as="labels"), over.classes)


def _difference_of(files: Sequence[ShownFile]) -> ShownDifference | None:
    masks = [file for file in files if isinstance(file, ShownMask)]
    if len(masks) < 2:
        return None
    first, last = masks[0], masks[-1]
    if (first.layer.zooms, first.layer.info.orientation) != (last.layer.zooms, last.layer.info.orientation):
        return None
    return ShownDifference(first, last)


def _check_lies_on(upper: Layer, lower: Layer) -> None:
    """Raise UsageError unless two files show the same area: of one size, or of levels of one pyramid."""
    ours, theirs = ((layer.zooms.height, layer.zooms.width) for layer in (upper, lower))
    steps = [whole / part for whole, part in zip(theirs, ours, strict=True)]
    is_level = min(steps) > 1.5 and abs(ours[0] - theirs[0] / steps[1]) <= 1
    if ours != theirs and not is_level:
        raise UsageError(
            f"{upper.info.name}: is {ours[0]} x {ours[1]} pixels, and {lower.info.name} {theirs[0]} x {theirs[1]}; "
            "name files of the same image"
        )
    if 1 not in (upper.info.pages, lower.info.pages) and upper.info.pages != lower.info.pages:
        pages = f"{upper.info.pages} pages, and {lower.info.name} {lower.info.pages}"
        raise UsageError(f"{upper.info.name}: has {pages}; name files of the same image")
