"""One palette for pictures, tables and label images."""

import numpy as np

from unet_deploy.system.colours import COLOURS, class_colour, hex_colour


def test_classes_beyond_the_palette_begin_it_again():
    assert class_colour(len(COLOURS) + 2) == class_colour(2) == (86, 180, 233)
    assert hex_colour(class_colour(2)) == "#56b4e9"


def test_colours_differ_in_lightness_too():
    lightness = COLOURS @ np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709
    assert len(np.unique(lightness.round())) == len(COLOURS)
