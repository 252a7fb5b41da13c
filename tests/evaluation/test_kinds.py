"""What the numbers of masks mean is seen from all of them, or they are refused with what to do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from unet_deploy.errors import DataError
from unet_deploy.evaluation.kinds import Mask, MaskCode, code_of, code_of_score, codes_of_two, count_objects, ranked
from unet_deploy.evaluation.truths import truth_of
from unet_deploy.model.card import ModelCard

TWO, THREE = ("background", "cell"), ("background", "myelin", "axon")


def discs(seed=0, side=96, count=6):
    """Numbered discs (side, side) that do not touch, from 1."""
    rng, numbers = np.random.default_rng(seed), np.zeros((side, side), np.uint16)
    rows, columns = np.indices(numbers.shape)
    while numbers.max() < count:
        y, x, radius = *rng.uniform(8, side - 8, 2), rng.uniform(5, 11)
        distance = (rows - y) ** 2 + (columns - x) ** 2
        if not numbers[distance < (radius + 3) ** 2].any():
            numbers[distance < radius**2] = numbers.max() + 1
    return numbers


DISCS = [discs(seed) for seed in range(3)]


def masks(*numbers):
    return [Mask(f"{at}.png", each) for at, each in enumerate(numbers)]


def binary(low, high):
    return [np.where(each > 0, high, low).astype(np.uint8) for each in DISCS]


def soft(sigma):
    return [ndimage.gaussian_filter((each > 0) * 255.0, sigma).round().astype(np.uint8) for each in DISCS]


def halves(values):
    """Three classes: what is above the middle is one, what is below another."""
    lower = np.arange(96)[:, None] >= 48
    return [np.array(values)[np.where(each > 0, np.where(lower, 2, 1), 0)] for each in DISCS]


def void_around(numbers, void=255):
    """Numbers with a border of no class around each object, as Pascal VOC draws it."""
    around = ndimage.grey_dilation(numbers, size=(3, 3))
    return np.where((numbers == 0) & (around > 0), void, numbers).astype(np.uint8)


# -- two values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (1, 2), (0, 77)])
def test_of_two_values_in_all_masks_the_higher_is_the_foreground(values):
    found = masks(*binary(*values), np.full((9, 9), values[0], np.uint8))
    code = code_of(found, TWO)
    assert code == MaskCode("binary", values)
    for mask, numbers in zip(found, DISCS, strict=False):
        np.testing.assert_array_equal(truth_of(mask, code, 2).labels, numbers > 0)
    assert not truth_of(found[-1], code, 2).labels.any()


def test_one_and_255_are_the_same_white():
    found = masks(*binary(0, 1), *binary(0, 255))
    code = code_of(found, TWO)
    assert code.kind == "binary"
    for mask, numbers in zip(found, DISCS * 2, strict=True):
        truth = truth_of(mask, code, 2)
        np.testing.assert_array_equal(truth.labels, numbers > 0)
        assert truth.objects.max() == 6


@given(st.lists(st.sampled_from([0, 255]), min_size=4, max_size=4))
def test_an_order_of_masks_changes_nothing(order):
    found = masks(*(np.full((2, 2), value, np.uint8) for value in order))
    assert code_of(found, TWO) == code_of(found[::-1], TWO)


# -- numbered objects ------------------------------------------------------------------------------------------------


def test_numbers_of_objects_are_objects_touching_or_not():
    touching = np.kron(np.arange(1, 26).reshape(5, 5), np.ones((7, 7), int)).astype(np.uint16)
    assert code_of(masks(*DISCS, touching), TWO) == MaskCode("instances")
    assert code_of(masks(touching * 1000), TWO) == MaskCode("instances")


@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(0, 5)))
def test_numbers_are_ranked_as_they_are_sorted(numbers):
    values = np.unique(np.append(numbers, 0))
    for dtype in (np.uint16, np.int64):
        np.testing.assert_array_equal(ranked(numbers.astype(dtype)), np.searchsorted(values, numbers))


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 4)))
def test_objects_are_counted_as_one_by_one(numbers):
    good = 0
    for value in set(np.unique(numbers).tolist()) - {0}:
        mine = numbers == value
        pieces = ndimage.label(mine)[0]
        whole = np.bincount(pieces.ravel())[1:].max() >= 0.8 * mine.sum()
        inside = ndimage.binary_erosion(mine, border_value=1).any()
        touches = (ndimage.binary_dilation(mine) & ~mine & (numbers > 0)).any()
        good += bool(whole and (inside or not touches))
    assert count_objects(numbers) == (good, len(set(np.unique(numbers).tolist()) - {0}))


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.5, 3])
def test_soft_edges_are_refused_with_what_to_do(sigma):
    with pytest.raises(DataError, match=r"\.png: holds \d+ values, 0 .*threshold the masks.*--mask-kind instances"):
        code_of(masks(*soft(sigma)), TWO)


@pytest.mark.parametrize("quality", [60, 90, 98])
def test_what_jpeg_leaves_is_refused(quality):
    import imagecodecs

    spoilt = [imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(each, quality)) for each in binary(0, 255)]
    with pytest.raises(DataError, match="threshold the masks to 0 and 255"):
        code_of(masks(*spoilt), TWO)


def test_one_soft_object_in_one_mask_is_refused():
    disc = discs(count=1)
    with pytest.raises(DataError, match="threshold the masks"):
        code_of(masks(ndimage.gaussian_filter((disc > 0) * 255.0, 0.8).round().astype(np.uint8)), TWO)


def test_a_foreground_among_numbered_objects_is_refused():
    with pytest.raises(
        DataError, match=r"3\.png: holds 2 values, 0 and 255, .*: number its objects, as other masks do"
    ):
        code_of(masks(*DISCS, binary(0, 255)[0]), TWO)
    assert code_of(masks(*DISCS, np.where(DISCS[0] == 1, 1, 0)), TWO) == MaskCode("instances")


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 128, 255)])
def test_more_classes_than_are_named_are_refused(values):
    with pytest.raises(DataError, match="name all with --classes if these are classes"):
        code_of(masks(*halves(values)), TWO)


def test_what_is_said_of_masks_must_be_possible():
    with pytest.raises(DataError, match="values in masks that should hold two; see --mask-kind"):
        code_of(masks(*DISCS), TWO, "binary")
    with pytest.raises(DataError, match=r"label 6, but only 2 classes are named; name all, from 0"):
        code_of(masks(*DISCS), TWO, "classes")
    assert code_of(masks(*soft(1)), TWO, "instances") == MaskCode("instances")


# -- classes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 128, 255), (1, 2, 3), (0, 1, 3)])
def test_as_many_values_as_names_are_classes_in_their_order(values):
    found = masks(*halves(values))
    code = code_of(found, THREE)
    assert code == MaskCode("classes", values)
    for mask, plain in zip(found, halves((0, 1, 2)), strict=True):
        np.testing.assert_array_equal(truth_of(mask, code, 3).labels, plain)


def test_gaps_that_nobody_can_fill_are_refused():
    with pytest.raises(DataError, match=r"label 255, but only 3 classes are named.*0 and 255"):
        code_of(masks(*binary(0, 255)), THREE)
    assert code_of(masks(*binary(0, 2)), THREE) == MaskCode("classes", (0, 1, 2))


@pytest.mark.parametrize(("numbers", "names"), [((0, 1, 2), THREE), ((0, 1, 1), TWO), ("objects", TWO)])
def test_a_border_of_255_is_of_no_class(numbers, names):
    plain = DISCS if numbers == "objects" else halves(numbers)
    found = masks(*map(void_around, plain))
    code = code_of(found, names)
    assert code.void == 255
    assert code.kind == ("instances" if numbers == "objects" else "classes" if len(names) > 2 else "binary")
    for mask, inner in zip(found, plain, strict=True):
        truth = truth_of(mask, code, len(names))
        np.testing.assert_array_equal(truth.known, mask.numbers != 255)
        np.testing.assert_array_equal(truth.labels, inner > 0 if len(names) == 2 else inner)


@pytest.mark.parametrize("kept", [None, MaskCode("instances")])
def test_255_beside_background_and_foreground_is_of_no_class_wherever_it_lies(kept):
    partly = [np.where(each > 0, 1, 0).astype(np.uint8) for each in DISCS]
    for each in partly:
        each[:, 0] = 255
    assert code_of(masks(*partly), TWO, kept=kept) == MaskCode("binary", (0, 1), 255)


def test_an_object_of_number_255_is_an_object():
    spread = [np.array([0, 42, 85, 128, 170, 212, 255], np.uint8)[each] for each in DISCS]
    assert code_of(masks(*spread), TWO) == MaskCode("instances")
    many = np.kron(np.arange(1, 257).reshape(16, 16), np.ones((4, 4), int)).astype(np.uint16)
    assert code_of(masks(many), TWO) == MaskCode("instances")


# -- what a model's masks were ---------------------------------------------------------------------------------------


def test_masks_that_fit_are_read_as_those_of_the_training():
    kept = MaskCode("binary", (1, 2))
    assert code_of(masks(np.full((9, 9), 2, np.uint8)), TWO, kept=kept) == kept
    kept = MaskCode("classes", (0, 128, 255))
    assert code_of(masks(*binary(0, 255)), THREE, kept=kept) == kept
    one = masks(*(np.where(each == 1, 1, 0) for each in DISCS))
    assert code_of(one, TWO, kept=MaskCode("instances")) == MaskCode("instances")


def test_masks_that_do_not_fit_are_read_as_they_look():
    assert code_of(masks(*DISCS), TWO, kept=MaskCode("binary", (0, 255))) == MaskCode("instances")
    assert code_of(masks(*binary(0, 1)), TWO, kept=MaskCode("instances")) == MaskCode("binary", (0, 1))
    assert code_of(masks(*binary(0, 1)), TWO, kept=MaskCode("binary", (0, 255))) == MaskCode("binary", (0, 1))


# -- a mask and its truth --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "kinds"),
    [
        (halves((0, 1, 2)), halves((0, 1, 2)), ("classes", "classes")),
        (halves((0, 0, 2)), halves((0, 1, 2)), ("classes", "classes")),
        (binary(0, 1), DISCS, ("binary", "instances")),
        (binary(0, 255), halves((0, 1, 2)), ("binary", "classes")),
        (DISCS, DISCS, ("instances", "instances")),
    ],
)
def test_a_mask_is_of_classes_where_its_truth_is_and_it_can_be(ours, theirs, kinds):
    for one, other, expected in ((ours, theirs, kinds), (theirs, ours, kinds[::-1])):
        assert tuple(code.kind for code in codes_of_two(masks(*one), masks(*other))) == expected


def test_classes_of_other_numbers_are_said_to_be_so():
    ours, theirs = masks(*halves((0, 1, 2))), masks(*halves((0, 128, 255)))
    with pytest.raises(DataError, match="say --mask-kind classes if these are classes"):
        codes_of_two(ours, theirs)
    assert [code.values for code in codes_of_two(theirs, theirs, "classes")] == [(0, 128, 255)] * 2


@given(st.sets(st.integers(0, 40), min_size=1), st.sets(st.integers(0, 40), min_size=1))
def test_classes_are_numbered_alike_in_a_mask_and_its_truth(ours, theirs):
    one, other = (masks(np.array([sorted(each)], np.uint8)) for each in (ours, theirs))
    codes = codes_of_two(one, other, "classes")
    assert codes[0] == codes[1]
    for mask, code in zip((*one, *other), codes, strict=True):
        labels = truth_of(mask, code, len(code.values)).labels
        np.testing.assert_array_equal(np.array(code.values)[labels], mask.numbers)


@pytest.mark.parametrize(
    ("kind", "values"), [("", ()), ("binary", ()), ("binary", (0,)), ("classes", (0, 1)), ("instances", (0, 1))]
)
def test_a_card_that_tells_half_tells_nothing(kind, values):
    card = ModelCard("m", 1, THREE, 4, 4, 12, mask_kind=kind, mask_values=values)
    assert MaskCode.of_card(card) is None


# -- the background --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tell", [lambda them: code_of(them, TWO), code_of_score], ids=["train and evaluate", "score"])
def test_numbers_that_leave_no_background_are_refused(tell):
    them = masks(*(each + 1 for each in DISCS))  # 1 is the background, from 2 on there are objects
    with pytest.raises(DataError, match=r"0\.png: holds 1 to 7, and no mask holds 0, the background"):
        tell(them)
    assert code_of(them, TWO, "instances").kind == code_of_score(them, "instances").kind == "instances"


def test_of_two_numberings_both_are_named_with_their_files():
    plain, other = binary(0, 1), binary(1, 2)
    with pytest.raises(DataError, match=r"1\.png: holds 1 and 2, but 0\.png 0 and 1; number background and foreground"):
        code_of(masks(plain[0], other[1], plain[2]), TWO)
