"""A network that sees an image smaller than it is, without another network: tiles are shrunk before it gets them.

`Change(scale)` makes resampling a part of the network, which is opened anew for each scale. Where one look is enough,
as to see how large objects are, that takes longer than the look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.images.grey import GreyScale
from unet_deploy.model.card import ModelCard
from unet_deploy.model.change import Change
from unet_deploy.model.scaling import Resampling
from unet_deploy.runtimes import Answer, Limits, Runtime
from unet_deploy.stream.stand_in import StandIn
from unet_deploy.tiling import Sides


def shrunk(runtime: Runtime, step: int) -> Runtime:
    """The runtime as it sees an image of which `step` pixels, each way, become one; itself for 1."""
    return runtime if step == 1 else Shrunk(runtime, step)


class Shrunk(StandIn):
    """A Runtime in pixels of the image, whose labels are as coarse as what the network sees; without probabilities.

    The other runtime, which is left open, was opened for float32 pixels.
    step: an even number.
    Raises UsageError where it refuses tiles as large as the smallest piece of such an image takes.
    """

    probabilities = False

    def __init__(self, runtime: Runtime, step: int) -> None:
        self._runtime, self._step = runtime, step
        change = Change(1 / step)
        resampling = change.resampling(runtime.card)
        assert resampling is not None
        self._resampling: Resampling = resampling
        self._card = change.of(runtime.card)
        most, least = min(runtime.limits.most), resampling.least_input
        if runtime.limits.hard and most < least:
            raise UsageError(
                f"--tile-size {most}: {runtime.name} needs {least} to see how large objects are; take as much, or say "
                "it with --diameter or --scale"
            )

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    @property
    def card(self) -> ModelCard:
        return self._card

    @property
    def limits(self) -> Limits:
        return self._in_the_image(self._runtime.limits)

    def _in_the_image(self, theirs: Limits) -> Limits:
        return replace(theirs, least=self._sides(theirs.least, -1), most=self._sides(theirs.most, 1))

    def _sides(self, network: Sides, sign: int) -> Sides:
        """Sides of the image's tiles for those of the network's, at most (sign 1) or at least (-1)."""
        least, block = self._resampling.least_input, self._resampling.scale.network
        blocks = [max(0, sign * ((sign * (side - least)) // block)) for side in network]
        height, width = (self._card.base + each * self._card.stride for each in blocks)
        return height, width

    def submit(self, tiles: Sequence[np.ndarray], greys: Sequence[GreyScale]) -> Any:
        return self._runtime.submit([self._seen(tile) for tile in tiles], greys)

    def _seen(self, tile: np.ndarray) -> np.ndarray:
        """A tile (C, h, w) as the network gets it, float32: of few grey levels means lie between them."""
        fewer_rows = self._along_columns(tile)
        return np.ascontiguousarray(self._along_columns(fewer_rows.swapaxes(1, 2)).swapaxes(1, 2))

    def _along_columns(self, planes: np.ndarray) -> np.ndarray:
        """Planes (C, h, w) with fewer rows, float32: weighted means of `2 * step`, as in a graph that resamples.

        The weights are a triangle, so rows that are as far from its middle are added first.
        """
        cut, side = self._resampling.cut_in, self._resampling.network_side(planes.shape[1])
        weights = cut.resampler.weights(cut.first)[: 2 * self._step, 0]
        total = np.zeros((len(planes), side, planes.shape[2]), np.float32)
        for near, far in zip(range(self._step), reversed(range(2 * self._step)), strict=False):
            pair = (planes[:, cut.front + each :: self._step][:, :side] for each in (near, far))
            total += weights[near] * np.add(*pair, dtype=np.float32)
        return total

    def result(self, ticket: Any) -> Answer:
        labels, ring = self._runtime.result(ticket).labels, self._resampling.ring
        block = self._resampling.scale.network
        height, width = (ring + (side - ring) // block * block for side in labels.shape[1:])
        inside = labels[:, ring:height, ring:width]
        return Answer(inside.repeat(self._step, axis=1).repeat(self._step, axis=2))

    def memory(self, height: int, width: int) -> int | None:
        theirs = self._runtime.memory(*map(self._resampling.network_side, (height, width)))
        # Rows in float32 three times, of which there are half as many or fewer, and the labels twice.
        return None if theirs is None else theirs + (6 * self.card.channels + 2) * height * width

    def shrink(self, below: Limits) -> None:
        theirs = self._runtime.limits
        if self._in_the_image(theirs) == below:
            self._runtime.shrink(theirs)
