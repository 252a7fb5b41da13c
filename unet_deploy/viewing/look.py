"""How a tile is drawn, as the address of the tile says it: a text that a browser sends, and that anyone may send."""

from __future__ import annotations

import re
from typing import get_args

from unet_deploy.errors import UsageError
from unet_deploy.viewing.contrast import Shade
from unet_deploy.viewing.paint import Drawn

MOST_SHADES = 16
"""Channels that are shown together."""
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


def drawn_of(look: str) -> Drawn:
    """Read how labels are drawn. Raises UsageError for anything else.

    >>> drawn_of("fill")
    'fill'
    """
    for drawn in get_args(Drawn):
        if drawn == look:
            return drawn
    raise UsageError("labels are drawn as fill or outline")


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
