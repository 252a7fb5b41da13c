"""Arrays in memory as images."""

import numpy as np
import pytest
from source_conformance import SourceConformance, noise

from unet_deploy.errors import ImageError
from unet_deploy.images.array import ArraySource


class TestArraySource(SourceConformance):
    def write(self, folder, pixels):
        self.pixels = pixels
        return folder

    def open(self, path):
        return ArraySource(self.pixels)


@pytest.mark.parametrize("shape", [(5,), (0, 5), (1, 1, 1, 5, 5)])
def test_an_array_that_is_no_image_says_what_is_one(shape):
    with pytest.raises(ImageError, match=r"an image is \(H, W\), \(C, H, W\) or \(pages, C, H, W\), none of them 0"):
        ArraySource(noise(shape, np.uint8))
