"""The colours of classes, the same in every picture, table and label image."""

from __future__ import annotations

import numpy as np

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255 each."""

# Okabe and Ito's palette, which colour-blind people can tell apart; the background stays uncoloured.
ORANGE, SKY_BLUE, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
VERMILION, BLUE, PURPLE = (213, 94, 0), (0, 114, 178), (204, 121, 167)

COLOURS = np.array([ORANGE, SKY_BLUE, GREEN, YELLOW, VERMILION, BLUE, PURPLE], np.float32)
"""(7, 3), red, green and blue of the classes 1, 2, ... in turn."""


def class_colour(label: int) -> Colour:
    """Return the colour of a class, by its label from 1 on.

    >>> class_colour(1) == class_colour(8) == ORANGE
    True
    """
    red, green, blue = COLOURS[(label - 1) % len(COLOURS)].astype(int).tolist()
    return red, green, blue


def hex_colour(colour: Colour) -> str:
    """Return a colour as Matplotlib and web pages write it.

    >>> hex_colour(BLUE)
    '#0072b2'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)
