"""How far the pixels of a shape lie from its border, smoothed: for many small shapes at once, and for large ones.

A value depends on the shape alone, to the last bit, and not on where it lies or on what is computed beside it: squares
of distances are whole numbers, and what follows is added up in one order for every pixel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_SMALL = 256
"""Side in pixels, with its frame, of shapes that are stacked: half of it, squared twice, is within 16 bits."""

_STEP = 16
"""Pixels by which sides of stacks differ, so that shapes of nearly one size share one."""

_AT_A_TIME = 1 << 16
"""Pixels of a stack: what is computed from them stays in the cache of a core."""


@dataclass(frozen=True)
class Stack:
    """Shapes of nearly one size, side by side."""

    which: list[int]
    """The index of each among the shapes that were given."""
    inside: np.ndarray
    """(H, n, W) bool, rows first. There is a frame of background around each, of one pixel or, below and right, more.
    """
    heights: np.ndarray
    """(H, n, W) float32, pixels; 0 outside."""


def stacks(shapes: Sequence[np.ndarray], sigma: float) -> Iterator[Stack]:
    """Yield the smoothed distances of all shapes, in stacks.

    shapes: (h, w) bool each. sigma: of the Gaussian, in pixels.
    """
    weights = _gaussian(sigma)
    sizes: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for index, shape in enumerate(shapes):
        height, width = (-(-(side + 2) // _STEP) * _STEP for side in shape.shape)
        sizes[height, width].append(index)
    for (height, width), members in sizes.items():
        count = max(1, _AT_A_TIME // (height * width))
        for start in range(0, len(members), count):
            which = members[start : start + count]
            inside = np.zeros((height, len(which), width), bool)
            for place, index in enumerate(which):
                tall, wide = shapes[index].shape
                inside[1 : 1 + tall, place, 1 : 1 + wide] = shapes[index]
            squares = _squares(inside) if max(height, width) <= _SMALL else _squares_of_one(inside[:, 0])[:, None]
            heights = _smoothed(_smoothed(np.sqrt(squares, dtype=np.float32), weights, 0), weights, 2)
            yield Stack(which, inside, np.where(inside, heights, np.float32(0)))


def _gaussian(sigma: float) -> np.ndarray:
    """Return the middle and the right half of a Gaussian cut at three sigma, float32; in all it is 1."""
    away = np.arange(int(3 * sigma + 0.5) + 1)
    half = np.exp(-0.5 * (away / max(sigma, 1e-6)) ** 2)
    return (half / (2 * half.sum() - half[0])).astype(np.float32)


def _squares(inside: np.ndarray) -> np.ndarray:
    """Return the squares of the distances to the nearest pixel outside, (H, n, W) int16: along columns, then rows.

    The nearest pixel outside of each column is known, and that of all columns is the nearest of these (Saito and
    Toriwaki 1994, "New algorithms for Euclidean distance transformation").
    """
    squares = np.zeros(inside.shape, np.int16)
    for y in range(1, len(inside)):
        np.multiply(squares[y - 1] + 1, inside[y], out=squares[y], casting="unsafe")
    for y in range(len(inside) - 2, -1, -1):
        np.minimum(squares[y], squares[y + 1] + 1, out=squares[y])
    squares *= squares
    column = squares.copy()
    for away in range(1, inside.shape[2]):
        square = np.int16(away * away)
        if square >= squares.max():
            break
        np.minimum(squares[..., away:], column[..., :-away] + square, out=squares[..., away:])
        np.minimum(squares[..., :-away], column[..., away:] + square, out=squares[..., :-away])
    return squares


def _squares_of_one(inside: np.ndarray) -> np.ndarray:
    """Return the same of one large shape (H, W), int32."""
    y, x = ndimage.distance_transform_edt(inside, return_distances=False, return_indices=True)
    y -= np.arange(inside.shape[0], dtype=np.int32)[:, None]
    x -= np.arange(inside.shape[1], dtype=np.int32)
    y *= y
    x *= x
    return y + x


def _smoothed(heights: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Return the heights smoothed along an axis, beyond whose ends is background."""
    lines = np.moveaxis(heights, axis, 0)
    smooth = lines * weights[0]
    for away, weight in enumerate(weights[1 : len(lines)], 1):
        beside = weight * lines
        smooth[away:] += beside[:-away]
        smooth[:-away] += beside[away:]
    return np.moveaxis(smooth, 0, axis)
