"""The files that are looked at together, one over another, and the pictures of their tiles, which are kept a while."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache
from typing_extensions import Self

from unet_deploy.errors import UsageError, address
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.viewing.contrast import Shade, measured_shades
from unet_deploy.viewing.layer import GreyLayer, LabelLayer, Layer
from unet_deploy.viewing.look import drawn_of, shades_of
from unet_deploy.viewing.paint import class_colours, object_colours, painted, png, shaded
from unet_deploy.viewing.zoom import ZoomTile

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


@dataclass(frozen=True)
class ShownImage:
    """An image of a scene."""

    name: str
    layer: GreyLayer

    def draw(self, page: int, tile: ZoomTile, look: str) -> bytes:
        """A tile as PNG. look: `look.shades_of` reads it. Raises UsageError and ImageError."""
        shades = shades_of(look)
        return png(shaded(self.layer.tile(page, tile), shades))


@dataclass(frozen=True)
class ShownMask:
    """A mask of a scene. Labels of 8 bits are classes; wider ones number objects."""

    name: str
    layer: LabelLayer

    @property
    def numbers_objects(self) -> bool:
        """Whether its labels number objects."""
        return self.layer.info.dtype.itemsize > 1

    def draw(self, page: int, tile: ZoomTile, look: str) -> bytes:
        """A tile as PNG, seen through where there is no label. look: fill or outline. Raises as that of an image."""
        drawn = drawn_of(look)
        colours = object_colours() if self.numbers_objects else class_colours()
        return png(painted(self.layer.tile(page, tile), colours, drawn))


ShownFile = ShownImage | ShownMask


class Scene:
    """Files that show the same area, the lowest first. Several threads may ask it. A context manager.

    Raises UsageError where there are none, and where one does not lie on the first.
    """

    def __init__(self, files: Sequence[ShownFile]) -> None:
        if not files:
            raise UsageError("nothing to look at; name an image or a mask")
        self.files = tuple(files)
        for other in files[1:]:
            _check_lies_on(other.layer, files[0].layer)
        self._lock = threading.Lock()
        self._kept: LRUCache[object, bytes] = LRUCache(CACHE_BYTES, getsizeof=len)

    def file(self, number: int) -> ShownFile:
        """A file by its number from 0. Raises UsageError where there is none."""
        if not 0 <= number < len(self.files):
            raise UsageError(f"there is no file {number}; there are {len(self.files)}, counted from 0")
        return self.files[number]

    def tile(self, number: int, place: Place, look: str) -> Picture:
        """A tile of a file. look: how it is drawn. Raises UsageError for what there is not, and ImageError."""
        file = self.file(number)
        self._check_page(place.page)
        key = number, place, look
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None:
            return Picture(kept, is_final=True)
        tile = file.layer.zooms.tile(place.zoom, place.column, place.row)
        settled, overview = file.layer.is_settled, file.layer.overview
        data = file.draw(_page_of(file.layer, place.page), tile, look)
        is_final = settled and file.layer.overview is overview
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
        return measured_shades(image.layer, _page_of(image.layer, page))

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
            found.append(file.layer.value(_page_of(file.layer, page), *at))
        return tuple(found)

    def _check_page(self, page: int) -> None:
        """Raise UsageError unless a file has this page; those of one page lie under all pages of the others."""
        pages = max(file.layer.info.pages for file in self.files)
        if not 0 <= page < pages:
            raise UsageError(f"there is no page {page}; there are {pages}, counted from 0")

    def close(self) -> None:
        for file in self.files:
            file.layer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_scene(images: Sequence[Path], masks: Sequence[Path], reading: Reading = AS_SAID) -> Scene:
    """Open images and the masks over them. reading: how images are read.

    Raises ImageError, and UsageError where one does not lie on the first, or a mask holds no labels.
    """
    with ExitStack() as opened:
        files: list[ShownFile] = []
        for path in images:
            grey = opened.enter_context(GreyLayer(lambda path=path: reading.open(path)))  # type: ignore[misc]
            files.append(ShownImage(address(path), grey))
        for path in masks:
            labels = opened.enter_context(LabelLayer(lambda path=path: reading.open_labels(path)))  # type: ignore[misc]
            files.append(ShownMask(address(path), labels))
        scene = Scene(files)
        opened.pop_all()
        return scene


def _page_of(layer: Layer, page: int) -> int:
    """The page of a file under one of the others: a single page lies under all."""
    return 0 if layer.info.pages == 1 else page


def _check_lies_on(upper: Layer, lower: Layer) -> None:
    """Raise UsageError unless two files show the same area: of one size, or of levels of one pyramid."""
    (height, width), (lower_height, lower_width) = ((layer.zooms.height, layer.zooms.width) for layer in (upper, lower))
    expected = lower_height * width / lower_width
    if abs(height - expected) > max(1, width / lower_width):
        raise UsageError(
            f"{upper.info.name}: is {height} x {width} pixels, and {lower.info.name} {lower_height} x {lower_width}; "
            "name files of the same image"
        )
    if 1 not in (upper.info.pages, lower.info.pages) and upper.info.pages != lower.info.pages:
        pages = f"{upper.info.pages} pages, and {lower.info.name} {lower.info.pages}"
        raise UsageError(f"{upper.info.name}: has {pages}; name files of the same image")
