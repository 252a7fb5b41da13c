"""An array that reads what it is indexed for, as napari wants arrays: nothing of it is in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_deploy.tiling import Region
from unet_deploy.viewing.pixels import Pixels

ReadPage = Callable[[int, Region], Pixels]
"""Reads a region of a page, (C, h, w)."""


@dataclass(frozen=True)
class LazyArray:
    """Pages of one channel as an array (..., H, W), or of a picture as (..., H, W, C).

    It is indexed by whole numbers and slices, and each part it is asked for is read anew. Raises ImageError then.

    >>> def read(page: int, region: Region) -> Pixels:
    ...     return Pixels(np.full((1, *region.sides), page))
    >>> two = LazyArray(read, (2, 300, 400), np.dtype(int))
    >>> two[1, :2, ::100].tolist(), two[..., 0].shape
    ([[1, 1, 1, 1], [1, 1, 1, 1]], (2, 300))
    """

    read: ReadPage
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_picture: bool = False
    """Whether the channels are the last axis."""

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def pages(self) -> tuple[int, ...]:
        """The sizes of the axes before rows and columns."""
        return self.shape[: -3 if self.is_picture else -2]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        keys = _every_axis(key, self.ndim)
        lead = len(self.pages)
        pages = np.arange(math.prod(self.pages)).reshape(self.pages)[keys[:lead]]
        rows, columns = (np.arange(self.shape[lead + at])[keys[lead + at]] for at in (0, 1))
        found = np.empty((pages.size, *rows.shape, *columns.shape, *self.shape[lead + 2 :]), self.dtype)
        if found.size:
            region = _around(rows, columns)
            for at, page in enumerate(pages.flat):
                found[at] = self._page(int(page), region)[_grid(rows - region.y, columns - region.x)]
        found = found.reshape(pages.shape + found.shape[1:])
        return found[(..., keys[-1])] if self.is_picture else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)

    def _page(self, page: int, region: Region) -> np.ndarray:
        """(h, w), or (h, w, C) of a picture; 0 where there is no data."""
        pixels = self.read(page, region)
        values = pixels.values if pixels.there is None else np.where(pixels.there, pixels.values, 0)
        if self.dtype.kind in "ui" and values.dtype.kind == "f":
            values = np.rint(values)
        return np.moveaxis(values, 0, -1) if self.is_picture else values[0]


def _every_axis(key: Any, ndim: int) -> tuple[Any, ...]:
    """A key for each axis. Raises IndexError for more than there are."""
    keys = key if isinstance(key, tuple) else (key,)
    at = next((at for at, each in enumerate(keys) if each is Ellipsis), len(keys))
    before, after = keys[:at], keys[at + 1 :]
    if len(before) + len(after) > ndim:
        raise IndexError(f"{len(before) + len(after)} indices for {ndim} axes")
    return (*before, *[slice(None)] * (ndim - len(before) - len(after)), *after)


def _around(rows: np.ndarray, columns: np.ndarray) -> Region:
    y, x = int(rows.min()), int(columns.min())
    return Region(y, x, int(rows.max()) + 1 - y, int(columns.max()) + 1 - x)


def _grid(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices that pick each of these rows at each of these columns."""
    return (rows[:, None], columns) if rows.ndim and columns.ndim else (rows, columns)
