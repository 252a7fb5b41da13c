"""Regions are chosen that stand for the others, unlike each other and apart."""

from dataclasses import replace
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
    features = rng.normal(size=(len(places), features))
    return Candidates(places, rng.random(len(places)), features, np.zeros(len(places), bool))


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), seeds)
def test_they_are_as_many_as_are_wanted_or_fit_do_not_overlap_and_are_the_same_again(rows, columns, count, seed):
    candidates = on_a_page(rows, columns, seed)
    chosen = choose(candidates, count)
    assert choose(on_a_page(rows, columns, seed), count) == chosen
    assert len(chosen) == min(count, -(-rows // 2) * -(-columns // 2)) or len(chosen) > -(-rows // 2) * -(-columns // 2)
    for one, other in combinations(candidates.places[chosen, 2:], 2):
        assert np.abs(one - other).max() >= 2


def in_two_kinds():
    """Regions of a page that are alike, but for those in a corner of it, and which these are."""
    candidates = on_a_page(10, 10, 3)
    corner = (candidates.places[:, 2:] >= 7).all(axis=1)
    return replace(candidates, features=np.where(corner[:, None], 5.0, 0.0) + 0.1 * candidates.features), corner


def test_what_is_alike_is_taken_once_and_what_is_unlike_the_rest_is_taken_too():
    candidates, corner = in_two_kinds()
    assert corner[choose(candidates, 2)].tolist() == [False, True]


def test_what_is_annotated_stands_for_what_is_like_it():
    candidates, corner = in_two_kinds()
    annotated = candidates.with_annotated(range(3), range(2, 4))
    assert annotated.annotated.sum() == 6
    assert corner[choose(annotated, 2)].tolist() == [True, False]
    assert not annotated.annotated[choose(annotated, 30)].any()


@given(seeds)
def test_the_most_typical_is_first(seed):
    candidates = on_a_page(6, 6, seed)
    assert choose(candidates, 1) == [int(alike(candidates.features).sum(axis=0, dtype=float).argmax())]


def test_regions_of_other_pages_and_images_do_not_overlap():
    candidates = on_a_page(1, 1, 0)
    page = replace(candidates, places=candidates.places + np.array([0, 1, 0, 0]))
    assert len(choose(candidates + page + page.of_image(1), 5)) == 3


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 60), seeds)
def test_of_too_many_a_sample_is_kept_that_is_the_same_page_by_page(count, most, first, seed):
    candidates = on_a_page(1, count, seed)
    before, after = (candidates.part(part) for part in (slice(first), slice(first, None)))
    thinned, by_parts = candidates.thinned(most), (before.thinned(most) + after).thinned(most)
    assert len(thinned) == min(count, most)
    np.testing.assert_array_equal(thinned.places, by_parts.places)
    assert (np.diff(thinned.places[:, 3]) > 0).all()


def test_the_sample_is_of_all_places_alike():
    kept = on_a_page(100, 100, 0).thinned(1000).places
    for axis in (2, 3):
        assert np.bincount(kept[:, axis] // 10, minlength=10).min() > 60


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
