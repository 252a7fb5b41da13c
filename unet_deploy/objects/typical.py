"""The diameter of typical objects, by area and not by count: specks that a network finds say little."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Areas:
    """What is known of the areas of objects; those of several pictures can be added.

    >>> labels = np.zeros((8, 8), np.uint8)
    >>> labels[1:5, 1:5], labels[7, 7] = 1, 1
    >>> seen = Areas.of(labels)
    >>> seen.count, round(seen.diameter, 2)  # of 16 pixels and of one: 17 pixels lie in objects of 15.1 on average
    (2, 4.39)
    """

    count: int = 0
    total: float = 0.0
    """Pixels of all objects."""
    squares: float = 0.0
    """The sum of the squared areas."""

    @classmethod
    def of(cls, labels: np.ndarray, step: int = 1) -> Areas:
        """Of class indices (h, w), the background 0: objects are the connected pixels of each class.

        step: look at each so many-th pixel of each so many-th row alone.
        """
        from scipy import ndimage

        seen = labels[::step, ::step]
        found = cls()
        for value in np.unique(seen[seen > 0]):
            objects, _ = ndimage.label(seen == value)
            areas = np.bincount(objects.reshape(-1))[1:].astype(np.float64) * step**2
            found += cls(len(areas), float(areas.sum()), float((areas**2).sum()))
        return found

    @property
    def diameter(self) -> float | None:
        """Of a disc as large as the object in which a pixel lies on average, in pixels; None where there is none."""
        return math.sqrt(4 / math.pi * self.squares / self.total) if self.total else None

    def __add__(self, other: Areas) -> Areas:
        return Areas(self.count + other.count, self.total + other.total, self.squares + other.squares)
