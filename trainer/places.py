"""Where tiles are drawn: anywhere, where annotations are, and often enough where a rare class is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainer.data import Sample
from trainer.recipe import Recipe

OFTEN = 1 / 3
"""Share of the tiles that each class is to be in. A class of one pixel in 300 that is in one tile of 50 is met by a
network so seldom that it learns to leave it out."""

MOST = 2 / 3
"""Share of the tiles that are drawn around rare classes, at most; the rest shows images as they are."""

LOOKS = 600
"""Tiles that are looked at to tell how often each class is in one: a share of a third is known to 0.02."""

Point = tuple[float, float]
"""x, y in pixels, a pixel's centre at whole numbers."""


@dataclass(frozen=True)
class Place:
    """Where one tile is drawn."""

    sample: int
    middle: Point | None = None
    """None for anywhere in the sample."""


class Places:
    """Chooses the sample and the middle of each tile of a training, by seed and step alone.

    margin: pixels a side that the network's output lacks.
    """

    def __init__(self, samples: Sequence[Sample], recipe: Recipe, margin: int) -> None:
        self.samples, self.recipe, self.margin = samples, recipe, margin
        # A larger image shows more, though not in proportion: its pixels are alike.
        chances = np.sqrt([each.said.size for each in samples]) * [each.share for each in samples]
        self.chances: np.ndarray = chances / chances.sum()

    def draw(self, step: int) -> list[Place]:
        """Where the tiles of a step are drawn."""
        seed = [self.recipe.seed, step]
        picked = np.random.default_rng(seed).choice(len(self.samples), self.recipe.batch, p=self.chances)
        rng = np.random.default_rng([*seed, 2])
        return [self._around(self._turn(rng), rng) or self._anywhere(int(index), rng) for index in picked]

    def _turn(self, rng: np.random.Generator) -> int | None:
        """Which rare class's turn it is, if any's."""
        turn = int(np.searchsorted(np.cumsum([*self.rare.values()]), rng.random(), side="right"))
        return [*self.rare, None][turn]

    def _around(self, k: int | None, rng: np.random.Generator) -> Place | None:
        """A pixel of a class, in any of the samples that have it."""
        if k is None:
            return None
        have = self.chances * self._has[:, k]
        index = int(rng.choice(len(self.samples), p=have / have.sum()))
        labels, known = self.samples[index].labels, self.samples[index].known
        return Place(index, _pixel_of(labels == k if known is None else (labels == k) & known, rng))

    def _anywhere(self, index: int, rng: np.random.Generator) -> Place:
        """Anywhere that annotations say something."""
        known = self.samples[index].known
        return Place(index, None if known is None else _pixel_of(known, rng))

    @cached_property
    def shares(self) -> np.ndarray:
        """The share of tiles (K,) drawn anywhere that each class is in."""
        rng, seen = np.random.default_rng([self.recipe.seed, 0, 3]), np.zeros(self._has.shape[1])
        for index in rng.choice(len(self.samples), LOOKS, p=self.chances):
            sample = self.samples[index]
            height, width = sample.labels.shape
            anywhere = rng.uniform(0, width - 1), rng.uniform(0, height - 1)
            middle = self._anywhere(int(index), rng).middle or anywhere
            half = (self.recipe.tile / 2 - self.margin) / sample.zoom
            rows, columns = (slice(max(0, round(c - half)), max(1, round(c + half))) for c in middle[::-1])
            counts = np.bincount(sample.labels[rows, columns].ravel(), minlength=len(seen))
            seen += counts > 0
        return seen / LOOKS

    @cached_property
    def rare(self) -> dict[int, float]:
        """Of each class that is in too few tiles, the share of all tiles to be drawn around its pixels.

        With shares w, W in all, each class is in at least w + q (1 - W) of the tiles, q being its share of those that
        lie anywhere; w is such that this is `OFTEN`.
        """
        if self.recipe.draw == "uniform":
            return {}
        few = {int(k): float(self.shares[k]) for k in np.flatnonzero((self.shares < OFTEN) & self._has.any(axis=0))}
        if not few:
            return {}
        there = sum(few.values())
        total = min(MOST, (OFTEN * len(few) - there) / (1 - there)) if there < 1 else MOST
        shares = {k: OFTEN - q * (1 - total) for k, q in few.items()}
        too_much = max(1.0, sum(shares.values()) / MOST)
        return {k: share / too_much for k, share in shares.items()}

    def note(self, names: Sequence[str]) -> str | None:
        """What a person should know of it, in a line. names: of the classes."""
        if not self.rare:
            return None
        words = [f"{names[k]} ({self.shares[k]:.1%} of them)" for k in self.rare]
        return (
            f"note: tiles that lie anywhere seldom have {', '.join(words)}: "
            f"{sum(self.rare.values()):.0%} are drawn around pixels of {'it' if len(words) == 1 else 'these'}"
        )

    @cached_property
    def _has(self) -> np.ndarray:
        """Whether a sample has pixels of a class, bool (samples, K)."""
        count = 1 + max(int(each.labels.max()) for each in self.samples)
        return np.array([np.bincount(each.said.ravel(), minlength=count) > 0 for each in self.samples])


def _pixel_of(there: np.ndarray, rng: np.random.Generator) -> Point:
    """One of the pixels where a plane (H, W) is True, each as likely."""
    rows = np.cumsum(np.count_nonzero(there, axis=1))
    number = rng.integers(rows[-1])
    y = int(np.searchsorted(rows, number, side="right"))
    columns = np.flatnonzero(there[y])
    return float(columns[number - (rows[y - 1] if y else 0)]), float(y)
