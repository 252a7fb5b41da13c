"""Equation 2, against a computation that takes it by its word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.weight_map import border_weights, class_weights


def by_its_word(objects, w0, sigma):
    """All distances of all pixels to all objects."""
    rows, columns = np.indices(objects.shape)
    labels = [label for label in np.unique(objects) if label]
    distances = np.full((max(2, len(labels)), *objects.shape), np.inf)
    for at, label in enumerate(labels):
        y, x = np.nonzero(objects == label)
        distances[at] = np.sqrt((rows[..., None] - y) ** 2 + (columns[..., None] - x) ** 2).min(axis=-1)
    first, second = np.sort(distances, axis=0)[:2]
    weights = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return np.where(objects == 0, weights, 0)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 6), st.floats(1, 20), st.floats(1, 6))
def test_border_weights_are_the_equation(seed, count, w0, sigma):
    rng = np.random.default_rng(seed)
    objects = np.zeros((40, 50), np.int32)
    for label in range(1, count + 1):
        y, x = rng.integers(0, 36), rng.integers(0, 46)
        objects[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = label
    np.testing.assert_allclose(border_weights(objects, w0=w0, sigma=sigma), by_its_word(objects, w0, sigma), atol=1e-5)


def test_a_gap_of_one_pixel_weighs_as_computed_by_hand():
    objects = np.zeros((9, 9), np.int32)
    objects[:, :4], objects[:, 5:] = 1, 2
    # d1 = d2 = 1 in the gap: 10 exp(-4 / 50)
    np.testing.assert_allclose(border_weights(objects)[:, 4], 10 * np.exp(-4 / 50), rtol=1e-6)


def test_one_object_alone_has_no_border_to_learn():
    objects = np.zeros((30, 30), np.int32)
    objects[10:15, 10:15] = 1
    assert not border_weights(objects).any()


def test_rare_classes_weigh_more_and_the_mean_weight_is_one():
    weights = class_weights([900, 100])
    np.testing.assert_allclose(weights, [1 / 1.8, 5], rtol=1e-6)
    np.testing.assert_allclose(weights @ [0.9, 0.1], 1, rtol=1e-6)
    np.testing.assert_allclose(class_weights([900, 100], balance=0), [1, 1], rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 30), (30, 1)])
def test_images_of_one_row_or_column_work(shape):
    objects = np.zeros(shape, np.int32)
    objects.flat[3], objects.flat[6] = 1, 2
    assert border_weights(objects).flat[4] > border_weights(objects).flat[9] > 0
