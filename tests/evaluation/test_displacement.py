"""Masks that lie beside what a model sees are measured, to a tenth of a pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from unet_deploy.evaluation.displacement import displacement


@given(st.floats(-6, 6), st.floats(-6, 6), st.integers(0, 9))
def test_masks_that_lie_beside_what_a_model_sees_are_measured(down, right, seed):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((120, 140)), 4)
    seen = 1 / (1 + np.exp(-60 * field))
    masks = (ndimage.shift(field, (down, right), mode="mirror") > 0).astype(np.uint8)
    assert displacement(np.stack([1 - seen, seen]), masks) == pytest.approx((down, right), abs=0.1)


@pytest.mark.parametrize("side", [1, 3, 40])
def test_where_nothing_is_seen_nothing_lies_beside_it(side):
    empty, half = np.zeros((side, side), np.uint8), np.full((2, side, side), 0.5)
    noise = np.random.default_rng(1).random((side, side))
    assert displacement(np.stack([1 - noise, noise]), (np.random.default_rng(0).random((side, side)) > 0.5)) == (0, 0)
    assert displacement(half, empty) == (0, 0)
    assert displacement(np.random.default_rng(0).random((2, side, side)), empty) == (0, 0)
