"""Scores against cases small enough to count by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from trainer.metrics import THRESHOLDS, Matches, dice, displacement, iou, match_objects

labels = hnp.arrays(np.int32, (12, 15), elements=st.integers(0, 6))


def test_dice_and_iou_by_hand():
    ours = np.array([1, 1, 1, 0, 0], bool)
    truth = np.array([0, 1, 1, 1, 0], bool)
    assert dice(ours, truth) == pytest.approx(4 / 6)
    assert iou(ours, truth) == pytest.approx(2 / 4)
    assert dice(ours & False, truth & False) == iou(ours & False, truth & False) == 1


@given(labels)
def test_a_perfect_answer_is_perfect_whatever_its_numbers(truth):
    shuffled = np.where(truth > 0, 1000 - 7 * truth, 0)
    assert all(each.f1 == 1 for each in match_objects(shuffled, truth, THRESHOLDS))


@given(labels, labels)
def test_matches_are_those_of_a_search_over_all_pairs(ours, truth):
    for threshold, found in zip(THRESHOLDS, match_objects(ours, truth, THRESHOLDS), strict=True):
        a_ids, b_ids = (set(np.unique(each)) - {0} for each in (ours, truth))
        overlaps = [iou(ours == a, truth == b) for a in a_ids for b in b_ids]
        hits = sum(o > 0.5 if threshold == 0.5 else o >= threshold for o in overlaps)
        assert found == Matches(hits, len(a_ids) - hits, len(b_ids) - hits)


def test_merged_split_and_missed_objects_by_hand():
    truth = np.array([[1, 1, 0, 2, 2, 0, 3, 3, 3, 3]])
    ours = np.array([[9, 9, 9, 9, 9, 0, 4, 4, 4, 0]])
    (half,) = match_objects(ours, truth, [0.5])
    assert half == Matches(true=1, false=1, missed=2)
    assert half.f1 == pytest.approx(2 / 5)


def test_nothing_to_find_and_nothing_found_is_right():
    empty = np.zeros((4, 4), int)
    assert match_objects(empty, empty, [0.5])[0].f1 == 1
    assert match_objects(empty, empty + 1, [0.5])[0] == Matches(0, 0, 1)


def test_below_one_half_a_match_would_not_be_unique():
    with pytest.raises(ValueError, match="unique"):
        match_objects(np.ones((2, 2), int), np.ones((2, 2), int), [0.4])


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
