"""Regions are chosen that are unsure, unlike each other and apart."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_deploy.suggestion import choice
from unet_deploy.suggestion.cells import Sums
from unet_deploy.suggestion.choice import Candidates, alike, choose, doubt

seeds = st.integers(0, 10**6)


def on_a_page(rows, columns, seed, features=3):
    """Every region of a page, of random doubts and features."""
    rng = np.random.default_rng(seed)
    places = np.array([(0, 0, row, column) for row in range(rows) for column in range(columns)])
    return Candidates(places, rng.random(len(places)), rng.normal(size=(len(places), features)))


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), seeds)
def test_they_are_as_many_as_are_wanted_or_fit_do_not_overlap_and_are_the_same_again(rows, columns, count, seed):
    candidates = on_a_page(rows, columns, seed)
    chosen = choose(candidates, count)
    assert choose(on_a_page(rows, columns, seed), count) == chosen
    assert len(chosen) == min(count, -(-rows // 2) * -(-columns // 2)) or len(chosen) > -(-rows // 2) * -(-columns // 2)
    for one, other in combinations(candidates.places[chosen, 2:], 2):
        assert np.abs(one - other).max() >= 2


def test_what_is_alike_is_taken_once_and_what_is_unlike_the_rest_is_taken_too():
    candidates = on_a_page(10, 10, 3)
    corner = (candidates.places[:, 2:] >= 7).all(axis=1)
    features = np.where(corner[:, None], 5.0, 0.0) + 0.1 * candidates.features
    even = Candidates(candidates.places, np.full(100, 0.2), features)
    assert corner[choose(even, 2)].sum() == 1


@given(seeds)
def test_of_regions_that_are_alike_the_most_unsure_is_first(seed):
    candidates = on_a_page(6, 6, seed)
    same = Candidates(candidates.places, candidates.doubts, np.zeros((36, 2)))
    assert choose(same, 1) == [int(candidates.doubts.argmax())]


def test_regions_of_other_pages_and_images_do_not_overlap():
    candidates = on_a_page(1, 1, 0)
    page = Candidates(candidates.places + np.array([0, 1, 0, 0]), candidates.doubts, candidates.features)
    assert len(choose(candidates + page + page.of_image(1), 5)) == 3


@given(st.integers(1, 60), st.integers(1, 70), seeds)
def test_of_too_many_the_most_unsure_of_neighbours_are_kept(count, most, seed):
    candidates = on_a_page(1, count, seed)
    thinned = candidates.thinned(most)
    assert len(thinned) == min(count, most)
    assert thinned.doubts.max() == candidates.doubts.max()
    assert (np.diff(thinned.places[:, 3]) > 0).all()
    starts = np.arange(len(thinned)) * count // len(thinned)
    np.testing.assert_array_equal(thinned.doubts, np.maximum.reduceat(candidates.doubts, starts))


def test_likeness_is_1_of_the_same_and_falls_with_what_differs():
    features = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0], [9.0, 1.0]])
    likeness = alike(features)
    np.testing.assert_allclose(np.diag(likeness), 1, atol=1e-6)
    np.testing.assert_allclose(likeness, likeness.T)
    assert likeness[0, 1] == 1
    assert 1 > likeness[0, 2] > likeness[0, 3]


def sums(pixels, unsure, found):
    """Of one region."""
    one = np.ones((1, 1))
    return Sums(pixels * one, unsure * one, one, one, found * one[None], one[None], one[None])


def test_doubt_is_beside_all_pixels_and_beside_those_that_were_found():
    assert doubt(sums(100, 10, 50)).item() > doubt(sums(200, 10, 50)).item()
    assert doubt(sums(100, 10, 25)).item() > doubt(sums(100, 10, 50)).item()
    assert doubt(sums(100, 10, 1)).item() == doubt(sums(100, 10, 0)).item(), "a speck is no object"
    assert doubt(sums(0, 0, 0)).item() == 0


def test_what_is_empty_or_has_no_data_is_no_candidate():
    found, unsure = np.array([[0, 600, 0, 600]]), np.array([[1, 0, 600, 0]])
    pixels = np.array([[10_000, 10_000, 10_000, 900]])
    one = np.ones((1, 4))
    seen = Sums(pixels, unsure, one, one, found[None], one[None], one[None])
    assert Candidates.of(seen, 5).places.tolist() == [[0, 5, 0, 1], [0, 5, 0, 2]]


def test_likeness_of_all_candidates_takes_as_much_memory_as_is_planned_for():
    assert alike(np.random.default_rng(0).normal(size=(200, 3))).nbytes == 4 * 200**2
    assert 4 * choice.MOST**2 < 10_000_000
