"""The measures of the ISBI 2012 challenge: by hand, by identities, and against scikit-image and plain definitions."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from unet_deploy.evaluation.partitions import (
    _NEIGHBOURS,
    _rings,
    compare_partitions,
    partition,
    pixel_error,
    warp,
    warping_error,
)

skimage_metrics = pytest.importorskip("skimage.metrics")

labels = hnp.arrays(np.int32, (9, 11), elements=st.integers(0, 4))
masks = hnp.arrays(bool, (9, 11))


def by_definition(predicted, truth):
    """V_rand and V_info with the whole matrix of p_ij, a column for each single pixel."""
    inside = truth > 0
    a, b = truth[inside].astype(int), predicted[inside].astype(int)
    singles = b == 0
    b[singles] = b.max(initial=0) + 1 + np.arange(singles.sum())
    p = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(p, (a, b), 1 / len(a))

    def entropy(q):
        q = q[q > 0]
        return -(q * np.log(q)).sum()

    rows, columns = p.sum(axis=1), p.sum(axis=0)
    v_rand = 2 * (p**2).sum() / ((rows**2).sum() + (columns**2).sum())
    both = entropy(rows) + entropy(columns)
    return v_rand, 2 * (both - entropy(p)) / both if both > 1e-12 else 1.0


@given(labels, labels)
def test_rand_and_information_are_those_of_the_definition(ours, truth):
    assume((truth > 0).any())
    found = compare_partitions(ours, truth)
    assert (found.v_rand, found.v_info) == pytest.approx(by_definition(ours, truth), abs=1e-9)


@given(labels, labels)
def test_the_rand_error_is_that_of_scikit_image_where_no_pixel_is_single(ours, truth):
    assume((truth > 0).sum() > 1)
    ours = ours + 1
    # Without pairs on either side scikit-image divides by nothing.
    assume(all(np.unique(each[truth > 0], return_counts=True)[1].max() > 1 for each in (ours, truth)))
    theirs = skimage_metrics.adapted_rand_error(truth, ours, ignore_labels=(0,))[0]
    assert compare_partitions(ours, truth).rand_error == pytest.approx(theirs, abs=1e-9)


@given(labels, labels)
def test_information_is_that_of_scikit_image_where_no_pixel_is_single(ours, truth):
    ours, truth = ours + 1, truth + 1
    split, merged = skimage_metrics.variation_of_information(truth, ours)
    shares = [np.unique(each, return_counts=True)[1] / truth.size for each in (ours, truth)]
    both = sum(-(share * np.log2(share)).sum() for share in shares)
    assume(both > 1e-9)
    assert compare_partitions(ours, truth).v_info == pytest.approx((both - split - merged) / both, abs=1e-9)


@given(labels, st.permutations(range(1, 5)))
def test_numbers_do_not_matter_and_the_truth_itself_is_perfect(truth, order):
    renamed = np.array([0, *order])[truth]
    perfect = compare_partitions(renamed, truth)
    assert (perfect.v_rand, perfect.v_info, perfect.rand_error) == pytest.approx((1, 1, 0))


def test_partitions_by_hand():
    truth = np.array([[1, 1, 0, 2, 2]])
    one = compare_partitions(np.ones((1, 5), int), truth)  # all merged: p = 1/2, 1/2; a the same; b = 1
    assert one.v_rand == pytest.approx(2 * 0.5 / (0.5 + 1))
    assert one.v_info == 0
    assert one.rand_error == pytest.approx(1 - 2 * 2 / (6 + 2))  # 2 of the 6 pairs that are proposed, and all 2 true
    none = compare_partitions(np.zeros((1, 5), int), truth)  # four single pixels
    assert none.v_rand == pytest.approx(2 * 0.25 / (0.5 + 0.25))
    assert none.v_info == pytest.approx(2 * np.log(2) / (np.log(2) + np.log(4)))
    assert none.rand_error == 1
    empty = compare_partitions(np.ones((1, 5), int), np.zeros((1, 5), int))
    assert (empty.v_rand, empty.v_info, empty.rand_error) == (1, 1, 0)


def test_segments_grow_until_one_pixel_is_between_them():
    wall = np.zeros((7, 9), bool)
    wall[:, :2] = wall[:, 7:] = True
    grown = partition(wall)
    assert (grown == 0).sum() == 7
    assert set(np.unique(grown)) == {0, 1, 2}
    thick = ndimage.binary_erosion(wall, border_value=1)
    assert compare_partitions(partition(thick), ndimage.label(wall)[0]).v_rand == pytest.approx(1)


@given(masks)
def test_borders_part_all_segments_and_nothing_is_lost(foreground):
    grown = partition(foreground)
    components, count = ndimage.label(foreground)
    assert len(np.unique(grown[grown > 0])) == count
    for axis in (0, 1):
        pairs = [np.take(grown, range(*ends), axis) for ends in ((0, grown.shape[axis] - 1), (1, grown.shape[axis]))]
        assert not ((pairs[0] != pairs[1]) & (pairs[0] > 0) & (pairs[1] > 0)).any()
    same = np.unique(np.stack([components[foreground], grown[foreground]]), axis=1)
    assert same.shape[1] == count


def topology(mask):
    """Components: of the foreground by sides, of the background, beyond the image included, by corners as well."""
    return ndimage.label(mask)[1], ndimage.label(np.pad(~mask, 1, constant_values=True), np.ones((3, 3)))[1]


def test_a_border_that_moved_costs_nothing_and_one_that_is_gone_does():
    truth = np.zeros((12, 20), bool)
    truth[2:10, 2:9] = truth[2:10, 11:18] = True
    moved = np.zeros_like(truth)
    moved[1:9, 2:10] = moved[1:9, 12:18] = True
    assert pixel_error(moved, truth) > 0.1
    assert warping_error(moved, truth) == 0
    merged = truth.copy()
    merged[5, 9:11] = True
    assert warping_error(merged, truth) == 1 / truth.size  # one of the two flips: the gap narrows for nothing
    assert warping_error(np.zeros_like(truth), truth) == 0  # two lost objects are neither split nor merged
    assert warping_error(truth, truth) == 0
    split = truth.copy()
    split[2:10, 4:6] = False
    assert warping_error(split, truth) == 2 / truth.size  # a bridge of two pixels holds the object together
    hole = truth.copy()
    hole[5:7, 4:6] = False
    invented = truth.copy()
    invented[0, 0] = True
    assert warping_error(hole, truth) == warping_error(invented, truth) == 0


def test_a_wall_is_missed_by_the_pixel_and_a_ring_that_is_invented_in_a_cell_parts_nothing():
    cell, ringed = np.ones((30, 30), bool), np.ones((30, 30), bool)
    ringed[10:20, 10:20] = False
    ringed[11:19, 11:19] = True
    assert warping_error(cell, ringed) == 32 / cell.size  # cells are joined by sides, so corners need no wall
    assert warping_error(ringed, cell) == 0  # every pixel of it alone is a hole
    open_ring = ringed.copy()
    open_ring[10, 14:16] = True
    assert warping_error(open_ring, ringed) == 2 / cell.size


@given(masks, masks)
def test_each_pixel_that_splits_or_merges_counts_once(predicted, truth):
    """Against every pixel in turn; the masks are smaller than the window in which parts may be joined."""
    warped = warp(predicted, truth)
    wrong = 0
    for y, x in np.argwhere(warped != predicted):
        without = np.pad(warped, 1)
        without[y + 1, x + 1] = False
        beside = ndimage.label(without)[0][y : y + 3, x : x + 3]
        wrong += len(np.unique(beside[beside > 0])) > 1
    assert warping_error(predicted, truth) == wrong / truth.size


@given(masks, masks)
def test_a_warp_keeps_the_topology_and_only_comes_nearer(predicted, truth):
    warped = warp(predicted, truth)
    assert topology(warped) == topology(truth)
    moved = warped != truth
    np.testing.assert_array_equal(warped[moved], predicted[moved])
    assert warping_error(predicted, truth) <= pixel_error(predicted, warped) + 1e-12


def test_every_simple_point_keeps_the_topology_and_no_other_does():
    """All 2^16 masks of 4x4 pixels would do; all neighbourhoods in a frame that joins nothing do as well."""
    simple = _rings().simple
    for code in range(256):
        mask = np.zeros((7, 7), bool)
        for bit, (y, x) in enumerate(_NEIGHBOURS):
            mask[3 + y, 3 + x] = code >> bit & 1
        flipped = mask.copy()
        flipped[3, 3] = True
        if simple[code]:
            assert topology(mask) == topology(flipped), code
