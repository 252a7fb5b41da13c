"""Pixels as pictures: channels between black and their colours, labels as fills or outlines, both as PNG.

Nothing is lost on the way: at one to one a pixel of the screen has the colour of one of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import imagecodecs
import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.model.decision import Decision
from unet_deploy.system.colours import COLOURS
from unet_deploy.viewing.contrast import Shade
from unet_deploy.viewing.pixels import Pixels

Drawn = Literal["fill", "outline"]
"""How labels are drawn."""

_LEVEL = 1
"""Of deflate: the quickest, for pictures that travel no further than the browser."""


def shaded(pixels: Pixels, shades: Sequence[Shade]) -> np.ndarray:
    """Return a picture, (h, w, 3) uint8, or (h, w, 4) where not all pixels hold data: the sum of its channels' colours.

    Raises UsageError for a channel that there is not.
    """
    channels = len(pixels.values)
    light = np.zeros((*pixels.values.shape[1:], 3), np.float32)
    for shade in shades:
        if not 0 <= shade.channel < channels:
            raise UsageError(f"there is no channel {shade.channel}; there are {channels}, counted from 0")
        light += stretched(pixels.values[shade.channel], shade)[..., None] * np.array(shade.colour, np.float32)
    picture = np.rint(light.clip(0, 255)).astype(np.uint8)
    return picture if pixels.there is None else _with_alpha(picture, pixels.there)


def stretched(grey: np.ndarray, shade: Shade) -> np.ndarray:
    """Return grey values as 0 to 1, float32: 0 at `low`, 1 at `high`, and 0 where they are no numbers.

    >>> stretched(np.array([0, 10, 15, 20, 90]), Shade(0, 10, 20)).tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    span = shade.high - shade.low
    with np.errstate(invalid="ignore", over="ignore"):
        light = (grey.astype(np.float32) - np.float32(shade.low)) / np.float32(span if span else 1)
    light = np.nan_to_num(light, nan=0, posinf=1, neginf=0).clip(0, 1)
    return light if shade.gamma == 1 else light ** np.float32(shade.gamma)


def painted(rimmed: Pixels, colours: np.ndarray, drawn: Drawn, hidden: Sequence[int] = ()) -> np.ndarray:
    """Return labels as a picture, (h, w, 4) uint8, seen through where there is none.

    rimmed: (1, h + 2, w + 2), the labels with one pixel around them. colours: as `class_colours` and `object_colours`
    return. hidden: labels that are not drawn. An outline is every pixel of a label beside which another begins,
    inside it.
    """
    labels = rimmed.values[0] if rimmed.there is None else np.where(rimmed.there, rimmed.values[0], 0)
    inside = labels[1:-1, 1:-1]
    shown = inside != 0
    if hidden:
        shown &= ~np.isin(inside, hidden)
    if drawn == "outline":
        neighbours = (labels[:-2, 1:-1], labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:])
        shown &= np.any([neighbour != inside for neighbour in neighbours], axis=0)
    return _with_alpha(colours[colour_numbers(inside, len(colours))], shown)


def decided(rimmed: Pixels, threshold: float) -> Pixels:
    """Return the labels that a threshold makes of probabilities (K, h, w), as `segment --threshold` does: (1, h, w).

    A single plane is the probability of an object. What is no number belongs to the background.
    """
    values = np.nan_to_num(rimmed.values.astype(np.float32), nan=0)
    if len(values) == 1:
        values = np.concatenate([1 - values, values])
    return Pixels(Decision(threshold=threshold).labels(values[None]), rimmed.there)


def class_colours() -> np.ndarray:
    """The colours of classes, (7, 3) uint8, in turn: those of all pictures of the program."""
    return COLOURS.astype(np.uint8)


def object_colours() -> np.ndarray:
    """Colours of numbered objects, (28, 3) uint8, in turn: those of classes in four lightnesses.

    Neighbours in number, which often are neighbours in the image, differ in hue.
    """
    light = np.array([1.0, 0.6, 0.8, 0.45], np.float32)[:, None, None]
    return np.rint(COLOURS * light).astype(np.uint8).reshape(-1, 3)


def colour_numbers(labels: np.ndarray, count: int) -> np.ndarray:
    """Return which of `count` colours each label has: 1 the first, and so on in turn.

    >>> colour_numbers(np.array([1, 2, 7, 8], np.uint8), 7).tolist()
    [0, 1, 6, 0]
    """
    numbers = labels.astype(np.int64)
    return (numbers - 1) % count


def png(picture: np.ndarray) -> bytes:
    """Return a picture, (h, w, 3) or (h, w, 4) uint8, as PNG."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(picture), level=_LEVEL))


def _with_alpha(picture: np.ndarray, shown: np.ndarray) -> np.ndarray:
    return np.dstack([np.where(shown[..., None], picture, 0), np.where(shown, 255, 0)]).astype(np.uint8)
