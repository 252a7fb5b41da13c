"""How a tile is drawn, as the address of the tile says it: a text that a browser sends, and that anyone may send."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.system.colours import Colour
from unet_deploy.viewing.contrast import Shade
from unet_deploy.viewing.paint import Drawn
from unet_deploy.viewing.table import Order

MOST_SHADES = 16
"""Channels that are shown together."""
_LABELS = re.compile(r"(fill|outline)(?:@(0\.\d{1,4}))?((?:;(?:[0-9a-f]{6}|-)){0,64})", re.ASCII)
_SHADE = re.compile(r"(\d{1,4}),([^,;]{1,32}),([^,;]{1,32}),([^,;]{1,32}),([0-9a-f]{6})", re.ASCII)


def shades_of(look: str) -> tuple[Shade, ...]:
    """Read how channels are shown: number, low, high, gamma and colour of each. Raises UsageError for anything else.

    >>> shades_of("0,10,200,1,ffffff;2,0,4095,0.5,ff0000")[1]
    Shade(channel=2, low=0.0, high=4095.0, colour=(255, 0, 0), gamma=0.5)
    """
    texts = look.split(";", MOST_SHADES)
    if len(texts) > MOST_SHADES:
        raise UsageError(f"no more than {MOST_SHADES} channels are shown together")
    return tuple(map(_shade_of, texts))


def look_of(shades: tuple[Shade, ...]) -> str:
    """Write what `shades_of` reads.

    >>> look_of((Shade(0, 10, 200),))
    '0,10.0,200.0,1.0,ffffff'
    """
    return ";".join(
        f"{shade.channel},{float(shade.low)!r},{float(shade.high)!r},{float(shade.gamma)!r},{bytes(shade.colour).hex()}"
        for shade in shades
    )


@dataclass(frozen=True)
class LabelLook:
    """How labels are drawn."""

    drawn: Drawn
    threshold: float | None = None
    """Of probabilities."""
    colours: tuple[Colour | None, ...] = ()
    """Of the classes 1, 2, ... instead of their own; None for one that is not drawn."""

    @property
    def hidden(self) -> tuple[int, ...]:
        """The labels that are not drawn."""
        return tuple(label for label, colour in enumerate(self.colours, start=1) if colour is None)

    def palette(self, own: np.ndarray) -> np.ndarray:
        """The colours of all classes, (n, 3) uint8. own: those that they have by themselves."""
        count = max(len(own), len(self.colours))
        palette = own[np.arange(count) % len(own)]
        for at, colour in enumerate(self.colours):
            palette[at] = colour or palette[at]
        return palette


def label_look_of(look: str) -> LabelLook:
    """Read how labels are drawn. Raises UsageError for anything else.

    >>> label_look_of("outline@0.35;ff0000;-")
    LabelLook(drawn='outline', threshold=0.35, colours=((255, 0, 0), None))
    """
    found = _LABELS.fullmatch(look)
    if found is None or (found[2] and not float(found[2])):
        raise UsageError("labels are drawn as fill or outline, with @threshold and ;colours or ;- after it")
    drawn, threshold, colours = found.groups()
    texts = colours.split(";")[1:]
    return LabelLook(drawn, float(threshold) if threshold else None, tuple(map(_colour_of, texts)))  # type: ignore[arg-type]


def _colour_of(text: str) -> Colour | None:
    if text == "-":
        return None
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


def _shade_of(text: str) -> Shade:
    found = _SHADE.fullmatch(text)
    if found is None:
        raise UsageError("a channel is shown by number,low,high,gamma,colour")
    channel, *numbers, colour = found.groups()
    try:
        low, high, gamma = map(float, numbers)
    except ValueError:
        raise UsageError("low, high and gamma are numbers") from None
    red, green, blue = bytes.fromhex(colour)
    return Shade(int(channel), low, high, (red, green, blue), gamma)


def order_of(text: str) -> Order:
    """Read how rows of a table are sorted. Raises UsageError for anything else.

    >>> order_of("stored"), order_of("3up"), order_of("12down")
    (Order(column=None, is_falling=False), Order(column=3, is_falling=False), Order(column=12, is_falling=True))
    """
    found = re.fullmatch(r"stored|(\d{1,4})(up|down)", text, re.ASCII)
    if found is None:
        raise UsageError("rows are sorted as stored, or by the number of a column and up or down")
    return Order(int(found[1]), found[2] == "down") if found[1] else Order()
