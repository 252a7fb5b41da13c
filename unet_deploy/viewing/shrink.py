"""Many stored pixels as one of the screen, or one as many: integers, and means of grey values."""

from __future__ import annotations

import numpy as np

from unet_deploy.viewing.pixels import Pixels


def mean(pixels: Pixels, rows: np.ndarray, columns: np.ndarray) -> Pixels:
    """Return the mean of each rectangle, (C, len(rows), len(columns)) float32; only pixels that hold data count.

    Rectangles begin at these rows and columns, each up to the next; two that begin at one pixel are both that pixel.
    Where every rectangle is a pixel, the pixels are returned as they are.

    >>> grey = np.array([[[1, 3, 5], [5, 7, 9]]], np.uint8)
    >>> mean(Pixels(grey), np.array([0]), np.array([0, 2])).values.tolist()
    [[[4.0, 7.0]]]
    """
    sides = pixels.values.shape[1:]
    if all(np.array_equal(begins, np.arange(size)) for begins, size in zip((rows, columns), sides, strict=True)):
        return pixels
    values = pixels.values.astype(np.float32)
    if pixels.there is None:
        counts = np.multiply.outer(*map(_extents, (rows, columns), values.shape[1:]))
        return Pixels(_sums(values, rows, columns) / counts)
    counts = _sums(pixels.there[None].astype(np.float32), rows, columns)[0]
    sums = _sums(np.where(pixels.there, values, np.float32(0)), rows, columns)
    return Pixels(sums / np.maximum(counts, 1), counts > 0)


def places(pixels: range, step: int, stored_step: float, size: int) -> np.ndarray:
    """Return where pixels of the screen, by their numbers, begin among `size` stored ones, along one axis.

    step, stored_step: how many pixels of the finest level one of either is long. What lies outside is the border.

    >>> places(range(3), 4, 2.0, 5).tolist(), places(range(-1, 3), 1, 1.0, 2).tolist()
    ([0, 2, 4], [0, 0, 1, 1])
    >>> places(range(4), 1, 2.0, 9).tolist()
    [0, 0, 1, 1]
    """
    found = np.floor(np.arange(pixels.start, pixels.stop) * step / stored_step).astype(np.intp)
    return found.clip(0, size - 1)


def _extents(begins: np.ndarray, size: int) -> np.ndarray:
    """How many pixels each rectangle is long."""
    return np.maximum(np.diff(begins, append=size), 1).astype(np.float32)


def _sums(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.add.reduceat(np.add.reduceat(values, rows, axis=1), columns, axis=2)
