"""Test-time augmentation: the mean answer over the eight ways to turn and mirror a tile.

Ronneberger et al. 2015 (table 1) average over seven rotated versions of the input; these are the image itself and its
seven rotated and mirrored versions. An input of legal sides pools on the same grid whichever way it lies, so tiles
stay seamless.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from typing_extensions import Self

from unet_deploy.errors import UsageError
from unet_deploy.images.grey import GreyScale
from unet_deploy.runtimes import Answer, Limits, Runtime

ORIENTATIONS = tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4))


def oriented(planes: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    """Planes (..., h, w) mirrored left to right where asked, then turned by so many quarters.

    >>> oriented(np.array([[1, 2], [3, 4]]), 1, True)
    array([[1, 3],
           [2, 4]])
    """
    return np.rot90(planes[..., ::-1] if mirrored else planes, turns, axes=(-2, -1))


def restored(planes: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    """Planes (..., h, w) as they were before `oriented` turned them."""
    turned = np.rot90(planes, -turns, axes=(-2, -1))
    return turned[..., ::-1] if mirrored else turned


def averaged(runtime: Runtime, wanted: bool) -> Runtime:
    """The mean of a runtime's answers over all orientations where that is wanted."""
    return Averaging(runtime) if wanted else runtime


class Averaging:
    """A Runtime that asks another one eight times. The other is the caller's, opened with probabilities."""

    slots = 1
    probabilities = True

    def __init__(self, runtime: Runtime) -> None:
        """Raises UsageError for a runtime without probabilities, or one that takes no tile lying down."""
        if not runtime.probabilities:
            raise UsageError("--tta: averages probabilities; open the model with them")
        self._runtime, self.card, self.fingerprint = runtime, runtime.card, runtime.fingerprint
        self.name = f"{runtime.name}, mean of {len(ORIENTATIONS)} orientations"
        if min(self.limits.most) < max(self.limits.least):
            tall, wide = runtime.limits.most
            raise UsageError(
                f"--tta: {runtime.name} takes tiles of {tall} x {wide} pixels only; build the engine for square ones"
            )

    @property
    def limits(self) -> Limits:
        """The limits of the other runtime that hold for a tile whichever way it lies."""
        return self._both_ways(self._runtime.limits)

    def _both_ways(self, theirs: Limits) -> Limits:
        low, high = max(theirs.least), min(theirs.most)
        return replace(theirs, least=(low, low), most=(high, high))

    def submit(self, tiles: Sequence[np.ndarray], greys: Sequence[GreyScale]) -> Answer:
        """Ask for all eight at once, as many in flight as the other takes, and answer with their mean."""
        in_flight: deque[tuple[tuple[int, bool], Any]] = deque()
        total: np.ndarray | None = None
        for way in ORIENTATIONS:
            if len(in_flight) == self._runtime.slots:
                total = self._add(total, *in_flight.popleft())
            turned = [np.ascontiguousarray(oriented(tile, *way)) for tile in tiles]
            in_flight.append((way, self._runtime.submit(turned, greys)))
        while in_flight:
            total = self._add(total, *in_flight.popleft())
        assert total is not None
        total /= len(ORIENTATIONS)
        return Answer(self.card.decision.labels(total), total)

    def _add(self, total: np.ndarray | None, way: tuple[int, bool], ticket: Any) -> np.ndarray:
        """The sum so far with the answer to one orientation, turned back, added in place: (N, K, h, w) float32."""
        probabilities = self._runtime.result(ticket).probabilities
        assert probabilities is not None
        upright = restored(probabilities, *way)
        return upright.astype(np.float32) if total is None else np.add(total, upright, out=total)

    def result(self, ticket: Answer) -> Answer:
        return ticket

    def memory(self, height: int, width: int) -> int | None:
        theirs = [self._runtime.memory(*sides) for sides in ((height, width), (width, height))]
        # The sum, one answer on its way into it, and the class of each pixel as argmax counts it.
        own = (2 * 4 * len(self.card.classes) + 8) * height * width
        return None if None in theirs else max(each for each in theirs if each is not None) + own

    def shrink(self, below: Limits) -> None:
        theirs = self._runtime.limits
        if self._both_ways(theirs) == below:
            self._runtime.shrink(theirs)

    def close(self) -> None:
        self._runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
