"""What pictures show as black and as white is the same for all of them."""

import doctest

import numpy as np

from unet_deploy.images import contrast
from unet_deploy.images.contrast import stretched


def test_examples_are_true():
    assert doctest.testmod(contrast).failed == 0


def test_a_few_bright_pixels_do_not_darken_the_rest():
    grey = np.append(np.arange(999), 1_000_000).astype(np.float32)
    shown = stretched(grey)
    assert shown[[0, -1]].tolist() == [0, 255]
    assert 120 < shown[500] < 135


def test_an_image_of_one_value_is_black():
    assert not stretched(np.full((3, 3), 7, np.float32)).any()
