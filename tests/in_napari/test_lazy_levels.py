"""A file as levels of arrays: those it has, and one that is made where all it has are large."""

import numpy as np
import tifffile

from unet_deploy.images import open_image
from unet_deploy.napari.levels import Levels
from unet_deploy.viewing.cut import grey_tile
from unet_deploy.viewing.layer import GreyLayer

LARGE = (2100, 2400)
"""More pixels than are read at once to be shown small."""


def levels_of(path):
    return Levels.of(GreyLayer(lambda: open_image(path)), grey_tile, "")


def test_a_small_image_is_one_array(tmp_path):
    stored = np.arange(3 * 40 * 50, dtype=np.uint16).reshape(3, 40, 50)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", metadata={"axes": "ZYX"})
    (array,) = levels_of(tmp_path / "a.tif").arrays()
    assert array.dtype == np.uint16
    assert np.array_equal(array, stored)


def test_a_picture_has_its_colours_last(tmp_path):
    stored = np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb")
    (array,) = levels_of(tmp_path / "a.tif").arrays(None)
    assert np.array_equal(array, stored)


def test_a_large_image_without_a_pyramid_has_a_small_level_of_means(tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    stored = np.random.default_rng(0).integers(0, 9, LARGE).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stored, tile=(512, 512))
    finest, small = levels_of(tmp_path / "a.tif").arrays()
    assert np.array_equal(finest[1000:1010, :9], stored[1000:1010, :9])
    assert small.shape == (1050, 1200)
    assert np.array_equal(small, np.rint(stored.reshape(1050, 2, 1200, 2).mean(axis=(1, 3))))
