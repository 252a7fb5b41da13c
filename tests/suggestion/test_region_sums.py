"""What is added up of an image is that of the whole image, whatever the tiles."""

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_deploy.errors import UsageError
from unet_deploy.images.grey import GreyScale
from unet_deploy.model.card import ModelCard
from unet_deploy.model.decision import Decision
from unet_deploy.stream.pipeline import DoneTile
from unet_deploy.suggestion.cells import Cells, Grid
from unet_deploy.tiling import Region, Tile

CARD = ModelCard("three", 2, ("background", "cell", "debris"), 0, 1, 1)
GREY = GreyScale(np.array([10, 0], np.float32), np.array([1 / 200, 1 / 255], np.float32))
seeds = st.integers(0, 10**6)


def an_answer(seed, height=40, width=52):
    """A finished tile as large as an image of two channels, for three classes."""
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet((1, 1, 1), (height, width)).astype(np.float32).transpose(2, 0, 1)
    image = rng.integers(0, 256, (2, height, width)).astype(np.uint8)
    whole = Region(0, 0, height, width)
    labels = scores.argmax(axis=0).astype(np.uint8)
    return DoneTile(0, Tile(whole, whole), image, labels, scores, whole, data=rng.random((height, width)) < 0.9)


def added(grid, *tiles):
    sums = Cells(grid, GREY, CARD)
    for tile in tiles:
        sums(tile)
    return sums.regions


def in_pieces(done, rows, columns):
    """The same answer in tiles, row by row."""
    tops, lefts = ([0, *sorted(cuts), end] for cuts, end in ((rows, 40), (columns, 52)))
    for top, bottom in pairwise(tops):
        for left, right in pairwise(lefts):
            if bottom > top and right > left:
                yield done.cut(Region(top, left, bottom - top, right - left))


@given(seeds, st.integers(2, 20), st.lists(st.integers(0, 40), max_size=3), st.lists(st.integers(0, 52), max_size=3))
def test_it_does_not_matter_how_an_image_is_cut(seed, side, rows, columns):
    done = an_answer(seed)
    grid = Grid.over(Region(3, 1, 36, 50), side)
    whole, pieces = added(grid, done), added(grid, *in_pieces(done, rows, columns))
    for each in fields(whole):
        np.testing.assert_allclose(getattr(pieces, each.name), getattr(whole, each.name), rtol=1e-6, atol=1e-6)


@given(seeds)
def test_sums_are_those_of_the_pixels_of_each_region(seed):
    done = an_answer(seed)
    grid = Grid.over(Region(0, 0, 40, 52), 10)
    sums = added(grid, done)
    for row, column in ((0, 0), (3, 2), (grid.rows - 2, grid.columns - 2)):
        inside = grid.region_at(row, column).slices
        data = done.data[inside]
        doubts = np.sort(done.probabilities, axis=0)[(slice(None), *inside)]
        assert sums.pixels[row, column] == data.sum()
        assert sums.found[:, row, column].tolist() == [(done.labels[inside][data] == label).sum() for label in (1, 2)]
        assert sums.doubt[row, column] == pytest.approx(((1 - doubts[2] + doubts[1])[data] ** 2).sum(), rel=1e-4)
        assert sums.grey[1, row, column] == pytest.approx((done.image[1][inside][data] / 255).sum(), rel=1e-4)


def test_borders_and_texture_are_counted_once_at_each_seam():
    done = an_answer(0)
    labels = np.zeros((40, 52), np.uint8)
    labels[:, 20:] = 1
    flat = DoneTile(0, done.tile, np.full_like(done.image, 40), labels, done.probabilities, done.whole)
    for cuts in ([], [20], [19, 21]):
        sums = added(Grid.over(Region(0, 0, 40, 52), 40), *in_pieces(flat, [], cuts))
        assert sums.borders.tolist() == [[40.0]]
        assert sums.texture.tolist() == [[0.0]]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 90), st.integers(1, 90), st.integers(1, 100))
def test_regions_lie_inside_the_part_and_leave_little_of_it(y, x, height, width, side):
    part = Region(y, x, height, width)
    if min(height, width) < side + side % 2:
        with pytest.raises(UsageError, match=rf"a.tif: {height} x {width} pixels are less than one region"):
            Grid.over(part, side, "a.tif")
        return
    grid = Grid.over(part, side)
    last = grid.region_at(grid.rows - 2, grid.columns - 2)
    assert grid.region_at(0, 0).sides == last.sides == (side + side % 2,) * 2
    for region in (grid.region_at(0, 0), last, grid.covered):
        assert region.intersection(part) == region
    assert height - grid.covered.height < grid.cell
    assert width - grid.covered.width < grid.cell


@settings(max_examples=30)
@given(seeds, st.floats(0.1, 0.9))
def test_a_pixel_is_in_doubt_as_it_is_near_to_another_class(seed, threshold):
    decision = Decision(threshold=threshold)
    scores = np.array([[1 - threshold, 1.0, 0.0], [threshold, 0.0, 1.0]], np.float32)[:, None]
    np.testing.assert_allclose(decision.doubts(scores), [[1, 0, 0]], atol=1e-5)
    scores = np.random.default_rng(seed).dirichlet((1, 1, 1, 1), (5, 6)).astype(np.float32).transpose(2, 0, 1)
    one, two = np.sort(scores, axis=0)[[-1, -2]]
    np.testing.assert_allclose(Decision().doubts(scores), 1 - (one - two), atol=1e-5)
