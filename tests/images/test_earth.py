"""A level lies where the finest level lies on Earth: every corner of its pixels has the coordinates that it had."""

import numpy as np
import pytest
import tifffile

from unet_deploy.images import open_image
from unet_deploy.masks import MaskForm, open_mask

AREA, POINT = 1, 2
MATRIX = (0.3, 0.1, 0, 5e5, 0.2, -0.4, 0, 6e6, 0, 0, 0, 0, 0, 0, 0, 1)


def pyramid(path, raster_type, *tags):
    full = np.zeros((602, 400), np.uint8)
    keys = (34735, "H", 12, (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, raster_type), True)
    with tifffile.TiffWriter(path) as file:
        file.write(full, tile=(64, 64), subifds=1, extratags=[keys, *tags], metadata=None)
        file.write(full[::2, ::2], tile=(64, 64), subfiletype=1, metadata=None)
    return path


def mask_tags(path, level):
    """The tags of a mask of a level."""
    with open_image(path, level=level) as source:
        info = source.info
    mask = path.with_name(f"{level}.tif")
    with open_mask(mask, MaskForm(info)) as sink:
        sink.write(0, info.region, np.zeros((1, *info.region.sides), np.uint8))
        sink.commit()
    with tifffile.TiffFile(mask) as file:
        return {tag.code: tag.value for tag in file.pages[0].tags}


def on_earth(tags, i, j):
    """Where the corner i, j of pixels lies, i to the right."""
    if tags[34735][-1] == POINT:
        i, j = i - 0.5, j - 0.5
    if 34264 in tags:
        a, b, _, d, e, f, _, h, *_ = tags[34264]
        return a * i + b * j + d, e * i + f * j + h
    tie_i, tie_j, _, x, y, _ = tags[33922][:6]
    return x + (i - tie_i) * tags[33550][0], y - (j - tie_j) * tags[33550][1]


@pytest.mark.parametrize("raster_type", [AREA, POINT])
@pytest.mark.parametrize(
    "tags",
    [
        [(33550, "d", 3, (0.5, 0.25, 0.0), True), (33922, "d", 6, (10.0, 20.0, 0.0, 5e5, 6e6, 0.0), True)],
        [(34264, "d", 16, MATRIX, True)],
    ],
)
def test_corners_of_pixels_stay_where_they_are(tmp_path, raster_type, tags):
    path = pyramid(tmp_path / "geo.tif", raster_type, *tags)
    fine, coarse = mask_tags(path, 0), mask_tags(path, 1)
    for i, j in ((0, 0), (0, 300), (200, 0), (200, 300)):
        assert on_earth(coarse, i, j) == pytest.approx(on_earth(fine, 2 * i, 2 * j), abs=1e-6)
    assert coarse[34735] == fine[34735]


def test_a_place_that_is_no_place_is_said(tmp_path):
    path = pyramid(tmp_path / "geo.tif", AREA, (33922, "d", 5, (0.0, 0.0, 0.0, 5e5, 6e6), True))
    assert 34735 not in mask_tags(path, 1)
    with open_image(path, level=1) as source:
        assert "the mask cannot take over its place on Earth" in source.info.note


@pytest.mark.parametrize("raster_type", [AREA, POINT])
def test_the_mask_of_a_level_is_read_where_its_image_lies(tmp_path, raster_type):
    tags = [(33550, "d", 3, (0.5, 0.25, 0.0), True), (33922, "d", 6, (10.0, 20.0, 0.0, 5e5, 6e6, 0.0), True)]
    path = pyramid(tmp_path / "geo.tif", raster_type, *tags)
    mask_tags(path, 1)
    with open_image(path) as image, open_image(path, level=1) as level, open_image(tmp_path / "1.tif") as mask:
        assert level.info.on_map == image.info.on_map
        x, y = np.array([0.0, 7.5]), np.array([3.0, 200.0])
        np.testing.assert_allclose(mask.info.on_map.at(x, y), image.info.on_map.at(2 * x, 2 * y), rtol=0, atol=1e-9)
