"""An image at another scale before a network, and its answer back on the image's grid: where pixels lie. Integers only.

A network answers best where objects have the size that it learned. So an image can reach it shrunk or enlarged, and
the two steps are part of the model: together they are a network of another margin, stride and base, all in pixels of
the image, and everything that cuts an image into tiles works as before.

A scale is a fraction: `network` pixels of the network for every `image` pixels of the image. At 4/8 a block of 8
pixels becomes 4, and the edges of blocks lie on each other:

    image     |. . . . . . . .|. . . . . . . .|      pixel i is around i + 1/2
    network   | .   .   .   . | .   .   .   . |      pixel j is around (j + 1/2) image / network

Every block is treated like every other, shifted: a tile that begins at a multiple of `image` sees the pixels of the
network that the whole image sees, and where `network` is a multiple of the network's stride it pools in their phase.
So the tiled answer is the whole image's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.model.card_fields import LARGEST_SIDE
from unet_deploy.tiling import Geometry, legal_side

LEAST, MOST = 0.05, 8.0
"""Scales that there are: beyond them nothing is left of an image, or all is made up."""

BLOCK = 32
"""Pixels of the shorter side of a block, at least: scales are 1/32 apart, at most."""


@dataclass(frozen=True)
class Scale:
    """How many pixels of the network stand for how many of the image.

    >>> scale = Scale.near(0.3, stride=16)
    >>> scale, round(float(scale), 4)
    (Scale(network=32, image=107), 0.2991)
    """

    network: int
    image: int

    @classmethod
    def near(cls, scale: float, stride: int) -> Scale:
        """The scale that is nearest to a number and keeps to a stride. Raises UsageError for what there is not."""
        if not LEAST <= scale <= MOST:
            raise UsageError(f"--scale {scale:g}: give {LEAST:g} to {MOST:g}, network pixels for a pixel of the image")
        network = math.lcm(BLOCK, stride)
        while network / scale < BLOCK:
            network *= 2
        return cls(network, round(network / scale))

    def __float__(self) -> float:
        return self.network / self.image


@dataclass(frozen=True)
class Resampler:
    """Pixels of one grid as weighted means of those of another: `gives` for every `takes`.

    The weights are a triangle around the new pixel's place, one old pixel wide on each side or, where there are fewer
    new ones, one new pixel: linear interpolation one way and an average that leaves no false pattern the other way.

    >>> Resampler(takes=4, gives=2).taps(0), Resampler(takes=4, gives=2).weights(0)[:4, 0]
    ((-1, 3), array([0.125, 0.375, 0.375, 0.125], dtype=float32))
    >>> Resampler(takes=2, gives=4).weights(0)[:, 0]
    array([0.25, 0.75, 0.  , 0.  ], dtype=float32)
    """

    takes: int
    gives: int

    def taps(self, pixel: int) -> tuple[int, int]:
        """The old pixels, half-open, that a new one is made of; both are counted from the edge of a block."""
        place, reach, unit = self._place(pixel), self._reach, 2 * self.gives
        return (place - reach) // unit + 1, -((-place - reach) // unit)

    def window(self, first: int) -> tuple[int, int]:
        """The old pixels, half-open, of the `gives` new ones from `first` on."""
        return self.taps(first)[0], self.taps(first + self.gives - 1)[1]

    def weights(self, first: int) -> np.ndarray:
        """What each old pixel of the window adds to each new one, (window, gives) float32; they add up to 1."""
        start, stop = self.window(first)
        old = 2 * self.gives * np.arange(start, stop)[:, None]
        new = np.array([self._place(first + each) for each in range(self.gives)])
        weights = np.maximum(0, self._reach - np.abs(old - new)).astype(np.float64)
        return (weights / weights.sum(axis=0)).astype(np.float32)

    def _place(self, pixel: int) -> int:
        """Where a new pixel lies among the old, (pixel + 1/2) takes / gives - 1/2, in parts of 1 / (2 gives)."""
        return (2 * pixel + 1) * self.takes - self.gives

    @property
    def _reach(self) -> int:
        return 2 * max(self.takes, self.gives)


@dataclass(frozen=True)
class Cut:
    """What a resampler is given of an axis, to give all of what is wanted whatever the axis' length.

    first: of the new pixels. front: old pixels before its window, which are dropped. back: zeros to append, or, below
    0, old pixels to drop, so that whole blocks are left. surplus: new pixels to drop at the end.
    """

    resampler: Resampler
    first: int
    front: int
    back: int
    surplus: int


@dataclass(frozen=True)
class Resampling:
    """A network with a scale in front and its inverse behind: a `Geometry` in pixels of the image.

        image     read  |<--- margin --->|<- image ->|<- image ->|<--- margin --->|
                                         .           .           .
        network  input     |<- margin ->|r|<-network->|<-network->|r|<- margin ->|     r: `ring`, for interpolation
                                         .           .           .
        image    answer                  |<- image ->|<- image ->|

    network: of the network itself, in its pixels.
    """

    network: Geometry
    scale: Scale

    def __post_init__(self) -> None:
        if self.scale.network % self.network.stride:
            raise ValueError(f"{self.scale} does not keep to the stride {self.network.stride}")
        if self.base > LARGEST_SIDE:
            raise UsageError(f"--scale {float(self.scale):.3g}: needs {self.base} pixels a side; take a larger one")

    @cached_property
    def inward(self) -> Resampler:
        return Resampler(self.scale.image, self.scale.network)

    @cached_property
    def outward(self) -> Resampler:
        return Resampler(self.scale.network, self.scale.image)

    @cached_property
    def least_input(self) -> int:
        """Side of the network's input for one block: whatever lies in the block, around it and in the margins."""
        start, stop = self.outward.window(0)
        ring = max(-start, stop - self.scale.network)
        return legal_side(self.scale.network + 2 * (ring + self.network.margin), self.network)

    @cached_property
    def ring(self) -> int:
        """Pixels of the network's answer before the first block. As many or one more lie behind the last."""
        return (self.least_input - 2 * self.network.margin - self.scale.network) // 2

    @property
    def _first(self) -> int:
        """The first pixel of the network's input, counted from the first block's edge."""
        return -self.ring - self.network.margin

    @cached_property
    def margin(self) -> int:
        before = -self.inward.taps(self._first)[0]
        behind = self.inward.taps(self._first + self.least_input - 1)[1] - self.scale.image
        return max(0, before, behind)

    @property
    def stride(self) -> int:
        return self.scale.image

    @property
    def base(self) -> int:
        return 2 * self.margin + self.scale.image

    def network_side(self, side: int) -> int:
        """What the network sees of a legal side of the image."""
        return self.least_input + (side - self.base) // self.stride * self.scale.network

    @property
    def cut_in(self) -> Cut:
        """From the image to the network's input."""
        blocks = -(-self.least_input // self.scale.network)
        front = self.margin + self.inward.taps(self._first)[0]
        back = self._whole(self.inward, self._first, blocks) - (self.base - front)
        return Cut(self.inward, self._first, front, back, blocks * self.scale.network - self.least_input)

    @property
    def cut_out(self) -> Cut:
        """From the network's answer to the image."""
        front = self.ring + self.outward.taps(0)[0]
        left = self.least_input - 2 * self.network.margin - front
        return Cut(self.outward, 0, front, self._whole(self.outward, 0, 1) - left, 0)

    @staticmethod
    def _whole(resampler: Resampler, first: int, blocks: int) -> int:
        """Old pixels of so many blocks and of the blocks that their last window begins to need."""
        start, stop = resampler.window(first)
        return (blocks - 1) * resampler.takes + -(-(stop - start) // resampler.takes) * resampler.takes
