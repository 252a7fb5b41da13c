"""A picture of the result to look at: the image in grey or colour, classes as translucent colours with outlines.

Where there are several classes a strip below names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unet_deploy.images.contrast import stretched
from unet_deploy.images.orientation import UPRIGHT, upright
from unet_deploy.system.colours import COLOURS, class_colour
from unet_deploy.system.files import replacing
from unet_deploy.tiling import Region

MOST_SIDE = 2048

_FILL, _LINE = 0.28, 0.95


def canvas_bytes(height: int, width: int, channels: int, classes: int) -> int:
    """Memory that an overlay of an image takes at most, the making of the picture included."""
    factor = -(-max(height, width) // MOST_SIDE)
    planes = (3 if channels == 3 else 1) + classes + 10  # sums, counts, and what the blending holds for a moment
    return 4 * planes * (-(-height // factor)) * (-(-width // factor))


class Overlay:
    """Collects regions into a canvas of at most MOST_SIDE pixels a side, by averaging whole squares of pixels.

    Memory is bounded by the canvas. Regions may come in any order and need not align with the squares.
    shown: what of the image the picture shows. orientation: how the image lies; the picture is upright.
    """

    def __init__(self, shown: Region, channels: int, classes: Sequence[str], orientation: int = UPRIGHT) -> None:
        self._orientation = orientation
        height, width = shown.sides
        self._origin = shown.origin
        self._factor = -(-max(height, width) // MOST_SIDE)
        shape = (-(-height // self._factor), -(-width // self._factor))
        self._names = tuple(classes[1:])
        self._colour = channels == 3
        self._grey = np.zeros((3 if self._colour else 1, *shape), np.float32)
        self._classes = np.zeros((len(classes) - 1, *shape), np.float32)
        counts = (np.bincount(np.arange(side) // self._factor) for side in (height, width))
        self._pixels = np.multiply.outer(*counts).astype(np.float32)
        self._blank: np.ndarray | None = None
        """Of each square, how many pixels hold no data; None before the first of them."""

    def add(self, region: Region, image: np.ndarray, labels: np.ndarray, data: np.ndarray | None = None) -> None:
        """image: (C, h, w) grey values, labels: (h, w) class indices, both of the region.

        data: (h, w) bool, where there is something to show; the rest is black, whatever its grey values.
        """
        rows, columns = (
            (np.arange(first, end) - origin) // self._factor
            for first, end, origin in zip(region.origin, (region.bottom, region.right), self._origin, strict=True)
        )
        there = np.ix_(np.unique(rows), np.unique(columns))
        shown = image if self._colour else image[:1]
        if data is not None and not data.all():
            shown = np.where(data, shown, shown.dtype.type(0))
            self._blank = np.zeros_like(self._pixels) if self._blank is None else self._blank
            self._blank[there] += self._sums((~data).astype(np.float32), rows, columns)
        for canvas, plane in zip(self._grey, shown, strict=True):
            canvas[there] += self._sums(plane.astype(np.float32), rows, columns)
        for label, canvas in enumerate(self._classes, start=1):
            canvas[there] += self._sums((labels == label).astype(np.float32), rows, columns)

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the picture as PNG; it appears when it is whole."""
        picture = self.picture()
        if len(self._names) > 1:
            picture = np.concatenate([picture, legend(self._names, picture.shape[1])])
        data = imagecodecs.png_encode(picture)
        with replacing(path, overwrite=overwrite) as beside:
            beside.write_bytes(data)

    def picture(self) -> np.ndarray:
        """(h, w, 3) uint8."""
        winner = np.zeros(self._pixels.shape, np.uint8)
        most = self._pixels - self._classes.sum(axis=0)
        for label, canvas in enumerate(self._classes, start=1):
            winner[canvas > most] = label
            np.maximum(most, canvas, out=most)
        grey = self._shades()
        picture = np.empty((*winner.shape, 3), np.uint8)
        picture[...] = np.moveaxis(grey, 0, -1)
        edge = _outline(winner)
        for label in range(1, len(self._classes) + 1):
            colour = COLOURS[(label - 1) % len(COLOURS)]
            for pixels, alpha in (((winner == label) & ~edge, _FILL), ((winner == label) & edge, _LINE)):
                picture[pixels] = picture[pixels] * (1 - alpha) + colour * alpha
        return np.ascontiguousarray(np.moveaxis(upright(np.moveaxis(picture, -1, 0), self._orientation), 0, -1))

    def _shades(self) -> np.ndarray:
        """The image as (1 or 3, h, w) shades from 0 to 255; a square without any data is 0."""
        if self._blank is None:
            return stretched(self._grey / self._pixels)
        seen = self._pixels - self._blank
        there = seen > 0
        shades = np.zeros_like(self._grey)
        if there.any():
            shades[:, there] = stretched(self._grey[:, there] / seen[there])
        return shades

    @staticmethod
    def _sums(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Sums over the squares that rows and columns fall into."""
        starts = [np.flatnonzero(np.diff(index, prepend=-1)) for index in (rows, columns)]
        return np.add.reduceat(np.add.reduceat(plane, starts[0], axis=0), starts[1], axis=1)


def legend(names: Sequence[str], width: int) -> np.ndarray:
    """(h, width, 3) uint8: the colour and the name of each class but background, in as many lines as it takes."""
    size = max(12, width // 60)
    font = ImageFont.load_default(size)
    places, x, y = [], size // 2, size // 2
    for name in names:
        wide = 2 * size + int(font.getlength(name))
        if x + wide > width and x > size // 2:
            x, y = size // 2, y + 3 * size // 2
        places.append((x, y))
        x += wide + size
    strip = Image.new("RGB", (width, y + 3 * size // 2))
    draw = ImageDraw.Draw(strip)
    for at, (name, (x, y)) in enumerate(zip(names, places, strict=True)):
        draw.rectangle((x, y, x + size - 1, y + size - 1), class_colour(at + 1))
        draw.text((x + 3 * size // 2, y + size // 2), name, "white", font, anchor="lm")
    return np.asarray(strip)


def _outline(labels: np.ndarray) -> np.ndarray:
    """Pixels of a class that have another class beside them."""
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differ = np.diff(labels, axis=axis) != 0
        first = [slice(None)] * 2
        second = [slice(None)] * 2
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        edge[tuple(first)] |= differ
        edge[tuple(second)] |= differ
    return edge
