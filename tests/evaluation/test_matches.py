"""Objects are matched, covered and merged as a person would count them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unet_deploy.evaluation.objects import (
    IOU_THRESHOLDS,
    Jaccard,
    Matches,
    connected_objects,
    count_merged,
    match_objects,
    mergers,
    seg_measure,
)
from unet_deploy.evaluation.overlap import Overlap

labels = hnp.arrays(np.int32, (12, 15), elements=st.integers(0, 6))


@given(labels)
def test_a_perfect_answer_is_perfect_whatever_its_numbers(truth):
    shuffled = np.where(truth > 0, 1000 - 7 * truth, 0)
    assert all(each.f1 == 1 for each in match_objects(shuffled, truth, IOU_THRESHOLDS))


@given(labels, labels)
def test_matches_are_those_of_a_search_over_all_pairs(ours, truth):
    for threshold, found in zip(IOU_THRESHOLDS, match_objects(ours, truth, IOU_THRESHOLDS), strict=True):
        a_ids, b_ids = (set(np.unique(each)) - {0} for each in (ours, truth))
        overlaps = [Overlap.of(ours == a, truth == b).iou for a in a_ids for b in b_ids]
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


def test_seg_and_mergers_by_hand():
    truth = np.array([[1, 1, 1, 0, 2, 2, 0, 3, 3]])
    ours = np.array([[5, 5, 0, 0, 6, 6, 6, 6, 6]])
    found = seg_measure(ours, truth)
    assert found.objects == 3
    assert found.total == pytest.approx(2 / 3 + 2 / 5 + 2 / 5)  # 2 and 3 lie whole in the object of five pixels
    assert count_merged(ours, truth) == 1
    assert mergers(ours, truth) == {6: 2}
    assert count_merged(truth, truth) == 0
    half = np.array([[5, 5, 0, 0]]), np.array([[1, 1, 1, 1]])
    assert seg_measure(*half) == Jaccard(0, 1)  # exactly half is no match
    empty = seg_measure(np.zeros((2, 2), int), np.zeros((2, 2), int))
    assert empty == Jaccard(0, 0)
    assert empty.mean is None


def test_diagonal_neighbours_are_two_objects():
    assert connected_objects(np.eye(3, dtype=bool)).max() == 3
