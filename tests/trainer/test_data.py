"""Images become samples: normalised, objects that touch parted, gaps between them weighted."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from trainer.data import add_weights, find_pairs, read_annotated, separate
from trainer.recipe import PRESETS
from unet_deploy.annotations.marking import Marking
from unet_deploy.errors import DataError
from unet_deploy.model.card import Normalization

CLASSES = ("background", "cell")


MEASURED = Normalization()


def read(folder, normalization=MEASURED):
    return read_annotated(find_pairs(folder), CLASSES, normalization)


def test_an_image_is_normalised_as_a_whole(folder):
    stored = tifffile.imread(folder / "images" / "cell2.tif")
    fixed = read(folder, Normalization("fixed", 0, 1))[2]
    np.testing.assert_array_equal(fixed.image, stored[None])
    low, high = np.percentile(stored, (1, 99.8))
    assert np.percentile(read(folder)[2].image, (1, 99.8)) == pytest.approx((0, 1), abs=1 / (high - low))


def test_touching_objects_are_parted_by_one_pixel():
    objects = np.zeros((6, 8), np.int32)
    objects[1:5, 1:4], objects[1:5, 4:7] = 1, 2
    parted = separate(objects, objects > 0)
    assert not parted[1:5, 3].any()
    np.testing.assert_array_equal(parted[1:5, 4], 2)
    np.testing.assert_array_equal(separate(parted, parted > 0), parted)


def test_of_objects_that_touch_the_parted_pixels_are_background(folder):
    for each in read(folder):
        np.testing.assert_array_equal(each.labels == 0, each.objects == 0)
        np.testing.assert_array_equal(separate(each.objects, each.labels), each.objects)


def test_weights_are_higher_between_cells(folder):
    samples = add_weights(read(folder), 2, PRESETS["paper"])
    weights = np.concatenate([sample.weights[sample.labels == 0] for sample in samples])
    assert weights.max() > 5 * np.median(weights)


def test_without_border_weights_a_pixel_weighs_as_its_class(folder):
    samples = add_weights(read(folder), 2, replace(PRESETS["paper"], w0=0))
    assert all(len(np.unique(sample.weights)) <= 2 for sample in samples)


KINDS = ("images", "masks")
BAD = {
    "empty": (
        lambda root: [tifffile.imwrite(p, np.zeros((90, 90), np.uint8)) for p in (root / "masks").iterdir()],
        r"masks: class 'cell' occurs in no mask",
    ),
    "one class": (
        lambda root: [tifffile.imwrite(p, np.ones((90, 90), np.uint8)) for p in (root / "masks").iterdir()],
        r"masks: nowhere is 'background', only objects are; annotate what lies around some of them",
    ),
    "one row": (
        lambda root: [tifffile.imwrite(root / kind / "cell3.tif", np.ones((1, 90), np.uint8)) for kind in KINDS],
        r"images/cell3\.tif: is 1 x 90 pixels; there is no shape to learn",
    ),
    "channels": (
        lambda root: tifffile.imwrite(root / "images" / "cell3.tif", np.ones((90, 90, 3), np.uint8), photometric="rgb"),
        r"images/cell3\.tif: 3 channels, but .*images/cell0\.tif has 1; train on images of the same",
    ),
    "nan": (
        lambda root: tifffile.imwrite(root / "images" / "cell3.tif", np.full((90, 90), np.nan, np.float32)),
        r"images/cell3\.tif: has pixels that are NaN",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line_with_the_file(folder, case):
    spoil, message = BAD[case]
    spoil(folder)
    with pytest.raises(Exception, match=message) as raised:
        read(folder)
    assert raised.value.exit_code == 3
    assert "\n" not in str(raised.value)


def test_a_class_that_is_named_and_never_occurs_is_refused(folder):
    with pytest.raises(DataError, match="class 'nerve' occurs in no mask"):
        read_annotated(find_pairs(folder), (*CLASSES, "nerve"), MEASURED, "instances")


def test_where_a_mask_holds_no_data_nothing_is_learned(folder):
    plain = add_weights(read(folder), 2, PRESETS["modern"])
    for pair in find_pairs(folder):
        numbers = tifffile.imread(pair.mask)
        numbers[:30] = 999
        tifffile.imwrite(pair.mask, numbers, extratags=[(42113, "s", 0, "999", True)], metadata=None)
    samples = add_weights(read(folder), 2, PRESETS["modern"])
    for sample, whole in zip(samples, plain, strict=True):
        assert not sample.weights[:30].any()
        assert (sample.weights[30:] > 0).all()
        assert sample.said.size == 60 * 90
        np.testing.assert_array_equal(sample.labels[32:], whole.labels[32:])


def test_an_ignored_value_is_neither_learned_nor_counted(folder):
    plain = add_weights(read(folder), 2, PRESETS["modern"])
    for pair in find_pairs(folder):
        numbers = tifffile.imread(pair.mask)
        numbers[:30] = 255
        tifffile.imwrite(pair.mask, numbers)
    pairs = find_pairs(folder, marking=Marking(ignore=255))
    samples = add_weights(read_annotated(pairs, CLASSES, MEASURED), 2, PRESETS["modern"])
    for sample, whole in zip(samples, plain, strict=True):
        assert not sample.weights[:30].any()
        assert not sample.objects[:30].any()
        assert sample.said.size == 60 * 90
        np.testing.assert_array_equal(sample.labels[32:], whole.labels[32:])


def test_pixels_of_no_class_are_for_their_author_to_name(folder):
    for pair in find_pairs(folder):
        numbers = np.minimum(tifffile.imread(pair.mask), 1).astype(np.uint8)
        numbers[(numbers == 0) & (np.roll(numbers, 1, 0) > 0)] = 255
        tifffile.imwrite(pair.mask, numbers)
    with pytest.raises(
        DataError, match=r"masks: pixels of 255 .* no class \(void\); give them one, or say --ignore 255"
    ):
        read(folder)


def test_objects_of_two_classes_touch_without_a_gap():
    objects, labels = np.zeros((6, 8), np.int32), np.zeros((6, 8), np.uint8)
    objects[1:5, 1:7], objects[2:4, 3:5] = 1, 2
    labels[1:5, 1:7], labels[2:4, 3:5] = 1, 2
    np.testing.assert_array_equal(separate(objects, labels), objects)
