"""A data set of nnU-Net is taken as it is: its channels, its names of labels, its label to ignore."""

import json

import numpy as np
import pytest
import tifffile

from unet_deploy.annotations.marking import Marking
from unet_deploy.errors import DataError, ImageError, UsageError
from unet_deploy.evaluation.pairs import check_no_data, find_data, find_pairs, read_pixels
from unet_deploy.evaluation.truths import read_truth_set, read_truths
from unet_deploy.images.reading import Reading

LABELS = {"background": 0, "cell": 1, "nerve": 2}
RNG = np.random.default_rng(2)


def noise(top=255, dtype=np.uint8):
    return RNG.integers(0, top, (40, 50)).astype(dtype)


@pytest.fixture
def data(tmp_path):
    """Two cases of one channel and three classes."""
    root = tmp_path / "Dataset007_Cells"
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (root / folder).mkdir(parents=True)
    for case in ("a_1", "b"):
        tifffile.imwrite(root / "imagesTr" / f"{case}_0000.tif", noise())
        tifffile.imwrite(root / "labelsTr" / f"{case}.tif", noise(3))
    tifffile.imwrite(root / "imagesTs" / "c_0000.tif", noise())
    describe(root)
    return root


def describe(root, labels=LABELS, **more):
    said = {"channel_names": {"0": "DAPI"}, "labels": labels, "numTraining": 2, "file_ending": ".tif"} | more
    (root / "dataset.json").write_text(json.dumps(said))


def test_cases_pair_with_their_labels_and_tests_are_left_out(data):
    found = find_data(data)
    assert found.layout == "imagesTr/ and labelsTr/ (nnU-Net)"
    assert [(pair.image.name, pair.mask.name) for pair in found.pairs] == [
        ("a_1_0000.tif", "a_1.tif"),
        ("b_0000.tif", "b.tif"),
    ]


def test_labels_are_classes_by_their_numbers(data):
    truths = read_truths(find_pairs(data), ("background", "cell", "nerve"))
    np.testing.assert_array_equal(truths[0].labels, tifffile.imread(data / "labelsTr" / "a_1.tif"))


def test_the_label_to_ignore_is_not_known(data):
    describe(data, LABELS | {"ignore": 3})
    labels = noise(4)
    tifffile.imwrite(data / "labelsTr" / "b.tif", labels)
    truths = read_truths(find_pairs(data), ("background", "cell", "nerve"))
    np.testing.assert_array_equal(truths[1].known, labels < 3)


def test_another_value_to_ignore_is_refused(data):
    describe(data, LABELS | {"ignore": 3})
    with pytest.raises(UsageError, match=r"--ignore 9: .*dataset\.json says 'ignore' of 3; leave it out"):
        find_pairs(data, marking=Marking(9))


def test_channels_are_files_that_make_one_image(data):
    describe(data, channel_names={"0": "DAPI", "1": "GFP"})
    second = noise()
    for case in ("a_1", "b"):
        tifffile.imwrite(data / "imagesTr" / f"{case}_0001.tif", second)
    pair = find_pairs(data)[0]
    first = tifffile.imread(data / "imagesTr" / "a_1_0000.tif")
    np.testing.assert_array_equal(read_pixels(pair), np.stack([first, second]))
    np.testing.assert_array_equal(read_pixels(pair, Reading("gfp")), second[None])
    np.testing.assert_array_equal(read_pixels(pair, Reading(0)), first[None])
    with pytest.raises(ImageError, match=r"has no channel 2; it has 2"):
        read_pixels(pair, Reading(2))


def test_channels_of_an_only_file_may_be_named_one_by_one(data):
    describe(data, channel_names={"0": "R", "1": "G", "2": "B"})
    for case in ("a_1", "b"):
        tifffile.imwrite(data / "imagesTr" / f"{case}_0000.tif", np.zeros((40, 50, 3), np.uint8), photometric="rgb")
    assert len(find_pairs(data)) == 2


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (np.zeros((4, 5), np.uint8), r"b_0001\.tif: is 4 x 5 pixels uint8, but .*b_0000\.tif is 40 x 50 pixels uint8"),
        (np.zeros((40, 50), np.uint16), r"b_0001\.tif: is 40 x 50 pixels uint16, but "),
        (np.zeros((40, 50, 3), np.uint8), r"b_0001\.tif: has 3 channels, but is one channel of an image"),
    ],
)
def test_channels_that_are_not_alike_are_refused(data, second, said):
    for case in ("a_1", "b"):
        tifffile.imwrite(data / "imagesTr" / f"{case}_0001.tif", second)
    with pytest.raises(ImageError, match=said):
        read_pixels(find_pairs(data)[1])


def test_outputs_lie_elsewhere(data):
    tifffile.imwrite(data / "imagesTr" / "a_1_0001.tif", noise())
    tifffile.imwrite(data / "imagesTr" / "b_0001.tif", noise())
    for output in ("imagesTr/a_1_0001.tif", "labelsTr/b.tif", "labelsTr/worst.png"):
        with pytest.raises(UsageError):
            check_no_data([data / output], data, None)
    check_no_data([data / "weights.pt"], data, None)


JSON = {
    "missing": (None, r"dataset\.json: no such file; it says what labels mean"),
    "broken": ('{"labels": {', r"dataset\.json: is no readable JSON \(.*\); save it again"),
    "deep": ("[" * 100_000, r"dataset\.json: is no readable JSON"),
    "bytes": ("\udcff", r"dataset\.json: is no readable JSON"),
    "a list": ("[]", r"dataset\.json: has no labels"),
    "no labels": ("{}", r"dataset\.json: has no labels"),
    "version 1": ('{"labels": {"0": "background", "1": "cell"}}', r'names with numbers, such as "background": 0'),
    "regions": ('{"labels": {"background": 0, "all": [1, 2]}}', r"labels are regions of several numbers"),
    "a gap": (
        '{"labels": {"background": 0, "cell": 2}}',
        r"labels are 0 background, 2 cell; number two or more from 0",
    ),
    "twice": ('{"labels": {"background": 0, "a": 1, "b": 1}}', r"number two or more from 0"),
    "one": ('{"labels": {"background": 0, "ignore": 1}}', r"number two or more from 0"),
    "the background elsewhere": (
        '{"labels": {"Background": 1, "cell": 0}}',
        r"dataset\.json: background is label 1; number it 0, in the masks too",
    ),
    "UTF-16": ("\udcff\udcfe{\0}\0", r"dataset\.json: is no readable JSON .* save it again, as UTF-8"),
    "a channel without its file": (
        '{"labels": {"background": 0, "cell": 1}, "channel_names": {"0": "DAPI", "1": "GFP"}}',
        r"dataset\.json: names 2 channels \(DAPI, GFP\), but case a_1 has 1, a_1_0000\.tif; add a file for each",
    ),
    "ending": (
        '{"labels": {"background": 0, "cell": 1}, "file_ending": ".nii.gz"}',
        r"dataset\.json: file_ending '\.nii\.gz' is not read; save images and labels as \.png or \.tif",
    ),
    "other ending": (
        '{"labels": {"background": 0, "cell": 1}, "file_ending": ".png"}',
        r"imagesTr: no image in it whose name ends in \.png",
    ),
}


@pytest.mark.parametrize("case", JSON)
def test_a_dataset_json_that_cannot_be_gone_by_is_one_line(data, case):
    text, said = JSON[case]
    (data / "dataset.json").unlink()
    if text is not None:
        (data / "dataset.json").write_text(text, errors="surrogateescape")
    with pytest.raises(DataError, match=said) as raised:
        find_pairs(data)
    assert "\n" not in str(raised.value)


FILES = {
    "no label": (lambda root: (root / "labelsTr" / "b.tif").unlink(), r"b_0000\.tif: case b is not in .*labelsTr; add"),
    "no image": (lambda root: (root / "imagesTr" / "b_0000.tif").unlink(), r"b\.tif: case b is not in .*imagesTr; add"),
    "no number": (
        lambda root: (root / "imagesTr" / "b_0000.tif").rename(root / "imagesTr" / "b.tif"),
        r"imagesTr/b\.tif: has no number of a channel; nnU-Net names images b_0000\.tif",
    ),
    "no channel": (
        lambda root: (root / "imagesTr" / "b_0000.tif").rename(root / "imagesTr" / "b_0001.tif"),
        r"imagesTr/b_0000\.tif: no such file, though b_0001\.tif is; cases have the same channels",
    ),
    "no labels": (
        lambda root: (root / "labelsTr").rename(root / "labels"),
        r"labelsTr: no such folder; nnU-Net keeps the labels of .*imagesTr there",
    ),
    "label": (
        lambda root: tifffile.imwrite(root / "labelsTr" / "b.tif", noise(7)),
        r"labelsTr/b\.tif: label 3 is not in .*dataset\.json \(0 background, 1 cell, 2 nerve\); name it there",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_what_does_not_fit_together_is_one_line(data, case):
    spoil, said = FILES[case]
    spoil(data)
    with pytest.raises(DataError, match=said):
        read_truths(find_pairs(data), ("background", "cell", "nerve"))


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (
            ["background", "cell"],
            r"has labels background, cell, nerve, but the classes are background, cell; they must be",
        ),
        (
            ["background", "nerve", "cell"],
            r"'cell' is label 1, but class 2 of background, nerve, cell; name",
        ),
        (["a", "b", "c", "d"], r"they must be as many"),
    ],
)
def test_classes_that_are_not_the_labels_are_refused(data, classes, said):
    with pytest.raises(DataError, match=said):
        read_truths(find_pairs(data), classes)


def test_classes_of_other_names_are_taken_and_said(data):
    assert read_truth_set(find_pairs(data), ("background", "Cell", "nerve", "more")).notes == ()
    (note,) = read_truth_set(find_pairs(data), ("ground", "body", "fibre")).notes
    assert note.startswith("note: labels background, cell, nerve of ")
    assert note.endswith("dataset.json are taken for ground, body, fibre")
