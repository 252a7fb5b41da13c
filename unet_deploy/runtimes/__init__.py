"""One file for each inference runtime, all with the same few methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from typing_extensions import Self

from unet_deploy.errors import ResourceError, UsageError
from unet_deploy.images.grey import GreyScale, to_float32
from unet_deploy.model.card import ModelCard
from unet_deploy.model.contract import Pixels, pixels_for
from unet_deploy.tiling import Geometry, Sides, least_side

DEFAULT_TILE = 1212
"""Input side, in pixels, where nothing is known of memory: little is wasted on halo."""

LARGEST_TILE = 2236
"""Largest input side that a CPU is given by itself: beyond it there is nothing left to gain."""


def scaled_side(side: int, scale: float, geometry: Geometry) -> int:
    """Side in pixels of the image of a tile that a network sees as one of `side`, and of the least it takes."""
    return max(geometry.base, round(side / scale))


def narrow(tile: np.ndarray, pixels: Pixels, name: str) -> np.ndarray:
    """A tile in the type that a runtime takes. Raises UsageError where its own is wider."""
    if pixels == "float32":
        return to_float32(tile, "tile")
    if not np.can_cast(tile.dtype, pixels):
        raise UsageError(
            f"{name}: takes {pixels} pixels, but the image has {tile.dtype}; "
            f"build the engine again with --pixels {pixels_for(tile.dtype)}"
        )
    return tile.astype(pixels, copy=False)


class OutOfMemoryError(ResourceError):
    """The device has no memory for a submission of this size. The runtime can be made smaller with `shrink`."""


@dataclass(frozen=True)
class Answer:
    """What the network says of N tiles, without their margin."""

    labels: np.ndarray
    """(N, h, w) uint8, class indices."""
    probabilities: np.ndarray | None = None
    """(N, K, h, w) float32, where they were asked for."""


@dataclass(frozen=True)
class Limits:
    """What one submission may hold: tiles, and (height, width) of the network's input in pixels."""

    batch: int
    least: Sides
    most: Sides
    least_batch: int = 1
    hard: bool = False
    """Whether a larger tile is refused, rather than only slower or larger in memory."""

    @property
    def fixed(self) -> bool:
        """Whether every submission has the same shape."""
        return self.least == self.most and self.least_batch == self.batch

    def halved(self, card: ModelCard) -> Limits:
        """Half the batch, or half the side of the tiles once a batch is one. Raises OutOfMemoryError at the least."""
        if self.batch // 2 >= self.least_batch:
            return replace(self, batch=self.batch // 2)
        smallest = least_side(card)
        height, width = (
            max(smallest, (side // 2 - card.base) // card.stride * card.stride + card.base) for side in self.most
        )
        # A part of a tile may be as small as the network takes; a runtime that wants more cannot take parts.
        if max(self.least) > smallest or (height, width) == self.most:
            height, width = self.most
            raise OutOfMemoryError(
                f"model {card.name!r}: out of memory even for one tile of {height} x {width} pixels; "
                "free some, or take a smaller model"
            )
        return replace(self, most=(height, width))


@dataclass(frozen=True)
class Identity:
    """Which model a runtime runs, and by what."""

    card: ModelCard
    name: str
    """Runtime and device, as a report names them."""
    fingerprint: str
    """What tells its answers from those of any other model."""


class Runtime(Protocol):
    """A model that is loaded and ready. A context manager.

    Any number of threads may submit and fetch at the same time, each its own tickets. An answer owns its memory.
    """

    @property
    def card(self) -> ModelCard: ...

    @property
    def name(self) -> str:
        """Runtime and device, as a report names them."""

    @property
    def fingerprint(self) -> str:
        """What tells its answers from those of any other model."""

    @property
    def probabilities(self) -> bool:
        """Whether its answers hold probabilities."""

    @property
    def slots(self) -> int:
        """How many submissions it takes before the first result must be fetched."""

    @property
    def limits(self) -> Limits:
        """What one submission may hold now; `shrink` lowers it."""

    def submit(self, tiles: Sequence[np.ndarray], greys: Sequence[GreyScale]) -> Any:
        """Start on tiles (C, h, w) of grey values, all of one shape within the limits; returns a ticket.

        greys: the grey scale of each tile's page. Raises OutOfMemoryError.
        """

    def result(self, ticket: Any) -> Answer:
        """Wait for a ticket's answer; each ticket is redeemed once.

        Raises OutOfMemoryError, also where another thread has shrunk the runtime since: then submit it again.
        """

    def memory(self, height: int, width: int) -> int | None:
        """Bytes of host memory that a tile of this input takes while it computes; None where nobody knows."""

    def shrink(self, below: Limits) -> None:
        """After an OutOfMemoryError under the limits `below`: forget all tickets and lower the limits.

        Where another thread has lowered them already, they stay. Raises OutOfMemoryError where they are the least.
        """

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...
