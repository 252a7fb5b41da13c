"""How long a Runtime takes for a pixel, seen while it answers."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from unet_deploy.images.grey import GreyScale
from unet_deploy.runtimes import Answer, Runtime
from unet_deploy.stream.stand_in import StandIn


class Timed(StandIn):
    """A Runtime that is watched: `seconds` is the least that a pixel of its input took."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self.seconds = runtime, float("inf")

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    def submit(self, tiles: Sequence[np.ndarray], greys: Sequence[GreyScale]) -> tuple[float, Any]:
        return perf_counter(), (tiles[0][0].size * len(tiles), self._runtime.submit(tiles, greys))

    def result(self, ticket: tuple[float, Any]) -> Answer:
        began, (pixels, inner) = ticket
        answer = self._runtime.result(inner)
        self.seconds = min(self.seconds, (perf_counter() - began) / pixels)
        return answer
