"""Which objects of two label images meet, and in how many pixels: what all measures of objects count from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Segments:
    """The numbered objects of one label image, by ascending number, and the pixels of each."""

    ids: np.ndarray
    pixels: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray) -> Segments:
        """The objects of labels of any shape; 0 is none."""
        return cls(*np.unique(labels[labels != 0], return_counts=True))


@dataclass(frozen=True)
class Contingency:
    """The contingency table of two label images, without its zeros: a pair of objects for each entry.

    Object 5 below meets 1 in two pixels, and 6 meets 2 in one; a pixel that is 0 on either side is in no entry.

        predicted  5 5 0 6 6      entries  5 with 1: 2 pixels
        truth      1 1 1 0 2               6 with 2: 1 pixel

    >>> table = Contingency.of(np.array([5, 5, 0, 6, 6]), np.array([1, 1, 1, 0, 2]))
    >>> table.predicted.ids[table.rows].tolist(), table.truth.ids[table.columns].tolist(), table.pixels.tolist()
    ([5, 6], [1, 2], [2, 1])
    """

    predicted: Segments
    truth: Segments
    rows: np.ndarray
    """The place of each entry's first object among those of the prediction."""
    columns: np.ndarray
    """The place of each entry's second object among those of the truth."""
    pixels: np.ndarray
    """How many pixels the two share."""

    @classmethod
    def of(cls, predicted: np.ndarray, truth: np.ndarray) -> Contingency:
        """Compare two integer label images of one shape, whatever it is; 0 is the background."""
        ours, theirs = Segments.of(predicted), Segments.of(truth)
        shared = (predicted != 0) & (truth != 0)
        row, column = np.searchsorted(ours.ids, predicted[shared]), np.searchsorted(theirs.ids, truth[shared])
        width = max(1, len(theirs.ids))
        entries, pixels = np.unique(row * width + column, return_counts=True)
        return cls(ours, theirs, *np.divmod(entries, width), pixels)

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of the two objects of each entry."""
        union = self.predicted.pixels[self.rows] + self.truth.pixels[self.columns] - self.pixels
        return self.pixels / union

    @property
    def holds_most(self) -> np.ndarray:
        """Whether more than half of the entry's true object lies in its object of the prediction."""
        return self.pixels > 0.5 * self.truth.pixels[self.columns]
