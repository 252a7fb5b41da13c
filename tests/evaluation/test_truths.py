"""Masks as programs save them: one reader for training, evaluation and scores."""

import json

import numpy as np
import PIL.Image
import pytest
import tifffile
from command_line import error, unet_deploy

from unet_deploy import open_model
from unet_deploy.annotations.marking import Marking
from unet_deploy.errors import DataError
from unet_deploy.evaluation.against_truth import score_files
from unet_deploy.evaluation.evaluate import evaluate
from unet_deploy.evaluation.pairs import find_pairs
from unet_deploy.evaluation.truths import read_truth_set, read_truths
from unet_deploy.objects.rules import Rules

CLASSES = ("background", "cell")


def rewrite(folder, save):
    """Save each mask of a folder again; returns their foregrounds."""
    foregrounds = []
    for pair in find_pairs(folder):
        foreground = tifffile.imread(pair.mask) > 0
        pair.mask.unlink()
        save(pair.mask.with_suffix(""), foreground)
        foregrounds.append(foreground)
    return foregrounds


def grey_as_colour(path, foreground):
    PIL.Image.fromarray(np.repeat(foreground[..., None] * np.uint8(255), 3, axis=2)).save(f"{path}.png")


def grey_as_colour_with_alpha(path, foreground):
    stored = np.repeat(foreground[..., None] * np.uint8(255), 4, axis=2)
    stored[..., 3] = 255
    PIL.Image.fromarray(stored).save(f"{path}.png")


def grey_as_colour_tiff(path, foreground):
    tifffile.imwrite(f"{path}.tif", np.repeat(foreground[..., None] * np.uint8(255), 3, axis=2), photometric="rgb")


def one_bit_tiff(path, foreground):
    tifffile.imwrite(f"{path}.tif", foreground)


def one_bit_png(path, foreground):
    PIL.Image.fromarray(foreground).save(f"{path}.png")


def palette_png(path, foreground):
    picture = PIL.Image.fromarray(foreground.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 128, 0, 0])
    picture.save(f"{path}.png")


def int64_tiff(path, foreground):
    tifffile.imwrite(f"{path}.tif", foreground.astype(np.int64))


SAVED = [
    grey_as_colour,
    grey_as_colour_with_alpha,
    grey_as_colour_tiff,
    one_bit_tiff,
    one_bit_png,
    palette_png,
    int64_tiff,
]


@pytest.mark.parametrize("save", SAVED)
def test_a_foreground_is_read_however_it_is_saved(folder, save):
    expected = rewrite(folder, save)
    for truth, foreground in zip(read_truths(find_pairs(folder), CLASSES), expected, strict=True):
        np.testing.assert_array_equal(truth.labels, foreground)
    one = find_pairs(folder)[0].mask
    tifffile.imwrite(folder / "plain.tif", expected[0].astype(np.uint8))
    assert score_files(folder / "plain.tif", one).by_class[0].dice == 1
    assert score_files(one, folder / "plain.tif").object_f1 == 1


BAD = {
    "nan": (lambda m: np.where(m == 0, np.nan, 1).astype(np.float32), "mask pixels are float32; save label numbers"),
    "probabilities": (lambda m: (m * 0.8 + 0.1).astype(np.float32), "mask pixels are float32; save label numbers"),
    "negative": (lambda m: -m.astype(np.int16), "label numbers below 0; number objects or classes from 0"),
    "colour": (lambda m: np.stack([m * 255, m * 0, m], axis=-1), "a mask has one channel of label numbers, this has 3"),
    "grey": (
        lambda m: np.random.default_rng(0).integers(0, 256, m.shape).astype(np.uint8),
        r"256 values, 0 to 255, .*threshold the masks to 0 and 255",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_score_refuses_what_training_refuses(folder, case):
    spoil, message = BAD[case]
    for pair in find_pairs(folder):
        plain = (tifffile.imread(pair.mask) > 0).astype(np.uint8)
        tifffile.imwrite(folder / "plain.tif", plain)
        tifffile.imwrite(pair.mask, spoil(plain), photometric="rgb" if case == "colour" else "minisblack")
    with pytest.raises(DataError, match=message):
        read_truths(find_pairs(folder), CLASSES)
    for one, other in ((pair.mask, folder / "plain.tif"), (folder / "plain.tif", pair.mask)):
        with pytest.raises(DataError, match=message):
            score_files(one, other)


# -- scores of files -------------------------------------------------------------------------------------------------


def blocks(*values):
    """Blocks of 7 x 7 pixels with these numbers, row by row, no gap between them."""
    return np.kron(np.array(values), np.ones((7, 7), int)).astype(np.uint8)


SCATTERED = blocks([1, 0, 1, 0], [0, 2, 0, 2], [1, 0, 2, 0])


def write(folder, **numbers):
    for name, each in numbers.items():
        tifffile.imwrite(folder / f"{name}.tif", each)


@pytest.mark.parametrize("kind", ["auto", "classes"])
def test_classes_are_scored_one_by_one(tmp_path, kind):
    wrong = SCATTERED.copy()
    wrong[:7, :7] = 2
    write(tmp_path, truth=SCATTERED, wrong=wrong)
    same = score_files(tmp_path / "truth.tif", tmp_path / "truth.tif", mask_kind=kind)
    assert same.classes == ("background", "class 1", "class 2")
    assert [each.dice for each in same.by_class] == [1, 1]
    assert same.object_f1 == same.seg == 1
    found = score_files(tmp_path / "wrong.tif", tmp_path / "truth.tif", mask_kind=kind)
    assert [each.dice for each in found.by_class] == pytest.approx([2 * 2 / 5, 2 * 3 / 7])


def test_objects_that_touch_are_as_they_are_numbered(tmp_path):
    numbers = blocks([1, 2, 3], [4, 5, 0])
    write(tmp_path, numbers=numbers, other=np.where(numbers == 5, 4, numbers))
    same = score_files(tmp_path / "numbers.tif", tmp_path / "numbers.tif")
    assert (same.object_f1, same.seg, same.merged) == (1, 1, 0)
    assert same.scores[0].matches[0].true == 5
    assert score_files(tmp_path / "other.tif", tmp_path / "numbers.tif").merged == 1
    assert (
        score_files(tmp_path / "numbers.tif", tmp_path / "numbers.tif", objects=Rules(min_size=50))
        .scores[0]
        .matches[0]
        .true
        == 0
    )


def test_what_the_numbers_are_can_be_said(tmp_path):
    write(tmp_path, two=blocks([0, 1, 2]), one=blocks([0, 1, 1]))
    assert score_files(tmp_path / "two.tif", tmp_path / "two.tif").classes[1:] == ("foreground",)
    shown, _ = unet_deploy("score", tmp_path / "two.tif", tmp_path / "one.tif", "--mask-kind", "classes", "--json")
    assert json.loads(shown)["overall"]["Dice of class 1, all pixels"] == pytest.approx(2 / 3)
    line = error("score", tmp_path / "two.tif", tmp_path / "one.tif", "--mask-kind", "binary", code=3)
    assert "two.tif: 3 values in masks that should hold two" in line


def test_a_foreground_is_scored_where_either_has_no_classes(tmp_path):
    write(tmp_path, classes=SCATTERED, binary=(SCATTERED > 0) * np.uint8(255))
    for one, other in (("classes", "binary"), ("binary", "classes")):
        result = score_files(tmp_path / f"{one}.tif", tmp_path / f"{other}.tif")
        assert (result.classes[1:], result.by_class[0].dice, result.object_f1) == (("foreground",), 1, 1)


def test_a_border_of_no_class_is_left_out_of_scores_and_said(tmp_path):
    truth = np.pad(SCATTERED, 2)
    found = truth.copy()
    border = (truth == 0) & (np.roll(truth, 1, 1) > 0)
    truth[border], found[border] = 255, 1
    write(tmp_path, truth=truth, found=found)
    result = score_files(tmp_path / "found.tif", tmp_path / "truth.tif")
    assert [each.dice for each in result.by_class] == [1, 1]
    assert result.notes == ("note: 255 in 1 of 1 masks is taken for no class (void), and left out",)
    assert score_files(tmp_path / "truth.tif", tmp_path / "truth.tif").notes == result.notes
    assert result.notes[0] in unet_deploy("score", tmp_path / "found.tif", tmp_path / "truth.tif")[1]


# -- what is not known, and what was before --------------------------------------------------------------------------


def mark_no_data(path, numbers):
    tifffile.imwrite(path, numbers, extratags=[(42113, "s", 0, "255", True)], metadata=None)


def test_where_a_mask_holds_no_data_nothing_is_true_and_nobody_is_wrong(folder, nuclei):
    pairs = find_pairs(folder)
    for pair in pairs:
        numbers = (tifffile.imread(pair.mask) > 0).astype(np.uint8)
        numbers[:45] = 255
        mark_no_data(pair.mask, numbers)
    found = read_truth_set(pairs, CLASSES)
    assert found.code.values == (0, 1)
    for truth in found.truths:
        assert not truth.known[:45].any()
        assert truth.known[45:].all()
        assert not truth.labels[:45].any()
    with open_model(nuclei) as model:
        scores = evaluate(model, pairs).scores
    for pair, score in zip(pairs, scores, strict=True):
        assert score.overlaps[0].true == (tifffile.imread(pair.mask)[45:] > 0).sum()
        assert score.overlaps[0].predicted <= 45 * 90


def test_scores_skip_an_ignored_value_whatever_the_mask_says_there(tmp_path):
    rng = np.random.default_rng(2)
    truth = np.zeros((40, 40), np.uint8)
    truth[5:15, 5:15] = truth[22:30, 20:34] = 1
    truth[:, 30:] = 7
    tifffile.imwrite(tmp_path / "truth.tif", truth)
    scores = []
    for at in range(2):
        mask = (truth == 1).astype(np.uint8)
        mask[:, 30:] = rng.integers(0, 2, (40, 10))
        tifffile.imwrite(tmp_path / f"mask{at}.tif", mask)
        command = ("score", tmp_path / f"mask{at}.tif", tmp_path / "truth.tif", "--ignore", 7, "--json")
        scores.append(unet_deploy(*command)[0].replace(f"mask{at}", "mask"))
    assert scores[0] == scores[1]
    assert json.loads(scores[0])["overall"]["Dice of foreground, all pixels"] == 1


def test_a_model_says_where_masks_are_others_than_it_was_trained_on(folder, small_models, tmp_path):
    pytest.importorskip("onnx")
    from dataclasses import replace

    from unet_deploy.model.onnx_file import read_model, save

    model = read_model(small_models["one"])
    path = tmp_path / "kept.onnx"
    save(model.proto, replace(model.card, mask_kind="binary", mask_values=(0, 255)), path)
    _, told = unet_deploy("evaluate", path, folder)
    assert "trained on masks of background and foreground (0 and 255); these are read as numbered objects" in told
    assert "masks          background and foreground (0 and 255)" in unet_deploy("info", path)[0]
    for pair in find_pairs(folder):
        tifffile.imwrite(pair.mask, (tifffile.imread(pair.mask) > 0).astype(np.uint8) * 255)
    assert "trained on masks" not in unet_deploy("evaluate", path, folder)[1]


@pytest.mark.parametrize(
    ("ignore", "notes"), [(7, ()), (8, ("note: no mask has a pixel of 8, so --ignore 8 leaves nothing out",))]
)
def test_an_ignored_value_that_no_mask_has_is_told(tmp_path, ignore, notes):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.zeros((20, 20), np.uint8))
    mask = np.zeros((20, 20), np.uint8)
    mask[4:9, 4:9], mask[12:15, 12:15] = 1, 7
    tifffile.imwrite(tmp_path / "masks" / "a.tif", mask)
    pairs = find_pairs(tmp_path, marking=Marking(ignore=ignore))
    assert read_truth_set(pairs, CLASSES, "instances").notes == notes
