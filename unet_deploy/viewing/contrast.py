"""Between which grey values a channel is shown: percentiles of what is spread over a page; pictures as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.images.contrast import SHOWN
from unet_deploy.images.grey import measure_grey
from unet_deploy.model.card import Normalization
from unet_deploy.system.colours import Colour
from unet_deploy.tiling import Region
from unet_deploy.viewing.layer import GreyLayer

_BETWEEN = Normalization(method="percentile", low=SHOWN[0], high=SHOWN[1])
"""What becomes black and full colour, as in the overlay of `segment`."""
_SQUARES, _SIDE = 6, 256
"""So many squares each way are looked at, spread evenly, of so many pixels a side."""

WHITE: Colour = (255, 255, 255)
_PICTURE: tuple[Colour, ...] = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
_STAINS: tuple[Colour, ...] = ((0, 120, 255), (0, 255, 80), (255, 60, 60), (255, 0, 255), (255, 220, 0), (0, 255, 255))
"""Of fluorescence: what is added up stays light on black."""


@dataclass(frozen=True)
class Shade:
    """How a channel is shown: `low` is black, `high` its full colour. Raises UsageError for what cannot be shown."""

    channel: int
    low: float
    high: float
    colour: Colour = WHITE
    gamma: float = 1.0
    """Above 1 what is dark is darker, below 1 lighter."""

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and 0.05 <= self.gamma <= 20):
            raise UsageError(f"contrast {self.low:g} to {self.high:g}, gamma {self.gamma:g}: give finite numbers")


def measured_shades(layer: GreyLayer, page: int) -> tuple[Shade, ...]:
    """Return how each channel of a page is best shown at first. Raises ImageError.

    Colour of 8 bits is shown as it is. All else is shown between percentiles, each channel by itself, of squares that
    are spread evenly over the coarsest level of a pyramid; values that are not finite do not count. A channel of one
    value is grey, and black where that is 0.
    """
    channels = layer.info.channels
    if is_picture(layer):
        return tuple(Shade(channel, 0, 255, colour) for channel, colour in enumerate(_PICTURE))
    scale = measure_grey(lambda: _samples(layer, page), channels, _BETWEEN, name=layer.info.name)
    colours = (WHITE,) if channels == 1 else _STAINS
    shades = []
    for channel, (low, factor) in enumerate(zip(scale.offset.tolist(), scale.scale.tolist(), strict=True)):
        between = (low, low + 1 / factor) if factor else (low - bool(low), low + 1)
        shades.append(Shade(channel, *between, colours[channel % len(colours)]))
    return tuple(shades)


def is_picture(layer: GreyLayer) -> bool:
    """Whether an image is a picture in red, green and blue, as those of a brightfield microscope are."""
    info = layer.info
    return info.channels == 3 and info.dtype == np.uint8 and not info.bands


def _samples(layer: GreyLayer, page: int) -> Iterator[np.ndarray]:
    """The finite values of each square that hold data, (C, n)."""
    level = layer.levels[-1]
    for y in _spread(level.height):
        for x in _spread(level.width):
            part = Region(y, x, min(_SIDE, level.height), min(_SIDE, level.width))
            pixels = layer.read(page, level, part)
            values = pixels.values if pixels.there is None else pixels.values[:, pixels.there]
            values = values.reshape(len(values), -1)
            yield values[:, np.isfinite(values).all(axis=0)]


def _spread(side: int) -> list[int]:
    """Where squares begin along one axis; they do not overlap unless all is looked at.

    >>> _spread(100), _spread(600), len(_spread(100_000))
    ([0], [0, 172, 344], 6)
    """
    count = min(_SQUARES, -(-side // _SIDE))
    return [int(at) for at in np.linspace(0, max(0, side - _SIDE), count)]
