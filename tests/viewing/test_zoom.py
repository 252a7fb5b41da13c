"""Tiles of the screen: which pixels they show, and that they show the image."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_deploy.errors import UsageError
from unet_deploy.viewing import cut, levels, look, overview, shrink, zoom
from unet_deploy.viewing.pixels import Pixels
from unet_deploy.viewing.shrink import mean
from unet_deploy.viewing.zoom import Zooms

SIDES = st.integers(1, 3000)


@pytest.mark.parametrize("module", [cut, levels, look, overview, shrink, zoom], ids=lambda module: module.__name__)
def test_examples_are_true(module):
    assert doctest.testmod(module).failed == 0


@given(SIDES, SIDES, st.data())
def test_the_tiles_of_a_zoom_show_each_pixel_of_the_image_once(height, width, data):
    zooms = Zooms(height, width)
    at = data.draw(st.integers(max(0, zooms.last - 6), zooms.last))
    rows, columns = zooms.tiles(at)
    regions = [zooms.tile(at, column, row).region for row in range(rows) for column in range(columns)]
    assert sum(region.height * region.width for region in regions) == height * width
    assert all(region.bottom <= height and region.right <= width for region in regions)


@given(SIDES, SIDES)
def test_the_first_zoom_is_one_pixel_and_the_last_one_to_one(height, width):
    zooms = Zooms(height, width)
    whole = zooms.tile(0, 0, 0)
    assert (len(whole.rows), len(whole.columns)) == (1, 1)
    assert zooms.step(zooms.last) == 1


@pytest.mark.parametrize(("at", "column", "row"), [(-1, 0, 0), (11, 0, 0), (10, 4, 0), (10, 0, -1), (0, 1, 0)])
def test_a_place_that_there_is_not_is_refused(at, column, row):
    with pytest.raises(UsageError, match=r"^there is no (zoom|tile)"):
        Zooms(1000, 1000).tile(at, column, row)


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))
def test_means_are_those_of_numpy_and_leave_out_what_holds_no_data(height, width, step):
    random = np.random.default_rng(height * 100 + width)
    values, there = random.integers(0, 255, (2, height, width)), random.random((height, width)) < 0.7
    rows, columns = np.arange(0, height, step), np.arange(0, width, step)
    found = mean(Pixels(values, there), rows, columns)
    for row, y in enumerate(rows):
        for column, x in enumerate(columns):
            square = np.s_[y : y + step, x : x + step]
            assert found.there[row, column] == there[square].any() or step == 1
            if there[square].any():
                expected = values[(slice(None), *square)][:, there[square]].mean(axis=1)
                np.testing.assert_allclose(found.values[:, row, column], expected, rtol=1e-6)
