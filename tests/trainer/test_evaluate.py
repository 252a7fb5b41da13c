"""Evaluation runs the deployed model, and counts what a person would count."""

import json

import numpy as np
import pytest
import tifffile
from command_line import error, unet_deploy

from trainer.data import Truth, find_pairs
from trainer.evaluate import Evaluation, evaluate, score_files, score_labels
from unet_deploy import open_model
from unet_deploy.errors import DataError


def test_scores_by_hand():
    truth = np.zeros((10, 10), np.uint8)
    truth[1:4, 1:4] = truth[6:9, 6:9] = 1
    objects = truth.astype(np.int32)
    objects[6:9, 6:9] = 2
    found = truth.copy()
    found[6:9, 6:9] = 0
    found[6, 1] = 1
    score = score_labels("by hand", found, Truth(truth, objects), 2)
    assert score.areas[0].dice == pytest.approx(2 * 9 / (10 + 18))
    assert score.areas[0].iou == pytest.approx(9 / 19)
    assert score.seg == (1, 2)
    assert (score.matches[0].true, score.matches[0].false, score.matches[0].missed) == (1, 1, 1)
    perfect = score_labels("perfect", truth, Truth(truth, objects), 2)
    both = Evaluation(("background", "cell"), (score, perfect))
    assert both.mean_dice == (pytest.approx((1 + 18 / 28) / 2),)
    assert both.pooled[0].dice == pytest.approx(2 * 27 / (28 + 36))
    assert both.seg == pytest.approx(3 / 4)
    assert both.f1[0] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))


def test_the_shipped_model_finds_real_nuclei(data, nuclei):
    pairs = [pair for pair in find_pairs(data / "dsb2018")][::110]
    with open_model(nuclei) as model:
        result = evaluate(model, pairs)
    assert len(result.scores) == 6
    assert result.pooled[0].dice > 0.85


def test_files_are_scored_page_by_page(tmp_path):
    mask, truth = np.zeros((2, 30, 30), np.uint8), np.zeros((2, 30, 30), np.uint16)
    mask[:, 5:10, 5:10] = 1
    truth[:, 5:10, 5:10] = 700
    truth[1, 5:10, 15:20] = 701
    for name, pages in (("mask", mask), ("truth", truth)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pages, photometric="minisblack")
    result = score_files(tmp_path / "mask.tif", tmp_path / "truth.tif")
    assert [score.matches[0].missed for score in result.scores] == [0, 1]
    tifffile.imwrite(tmp_path / "one.tif", mask[0])
    with pytest.raises(DataError, match=r"mask\.tif: is 2 x 1 x 30 x 30 .*one\.tif is 1 x 1 x 30 x 30"):
        score_files(tmp_path / "mask.tif", tmp_path / "one.tif")


@pytest.fixture
def annotated(tmp_path):
    """Two images of bright squares with their masks; the third image has a square that no mask names."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for at in range(3):
        mask = np.zeros((120, 140), np.uint8)
        mask[20:50, 20:60] = 1
        if at:
            mask[70:100, 30 + 20 * at : 60 + 20 * at] = 1
        rng = np.random.default_rng(at)
        image = (40 + 150 * mask + rng.normal(0, 6, mask.shape)).astype(np.uint8)
        tifffile.imwrite(tmp_path / "images" / f"{at}.tif", image)
        tifffile.imwrite(tmp_path / "masks" / f"{at}.tif", mask * 255 if at < 2 else np.minimum(mask, 1) * 255)
    return tmp_path


def test_thresholds_partitions_and_a_sheet_on_the_command_line(annotated, nuclei):
    import imagecodecs

    sheet = annotated / "worst.png"
    shown, _ = unet_deploy("evaluate", "nuclei", annotated, "--metrics", "all", "--tta", "--plot", sheet)
    for words in ("V_rand, best at", "warping error, best at", "SEG", "objects merged into others", "threshold"):
        assert words in shown
    picture = imagecodecs.png_decode(sheet.read_bytes())
    assert min(picture.shape[:2]) > 300
    exists = error("evaluate", "nuclei", annotated, "--plot", sheet, code=2)
    assert "worst.png" in exists
    found = json.loads(unet_deploy("evaluate", "nuclei", annotated, "--json", "--metrics", "thresholds")[0])
    assert list(found["thresholds"]) == [f"{cut / 10:.1f}" for cut in range(11)]
    assert found["thresholds"]["0.0"]["pixel error"] > 0.5
    best = max(row["Dice"] for row in found["thresholds"].values())
    assert best == pytest.approx(next(v for name, v in found["overall"].items() if name.startswith("Dice, best")))
    assert "there are overlap, objects" in error("evaluate", "nuclei", annotated, "--metrics", "beauty", code=2)


def test_the_best_threshold_of_an_error_is_its_lowest():
    truth = Truth(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 0, 1, 1]], np.int32))
    foreground = np.array([[0.05, 0.45, 0.55, 0.95]])
    both = np.stack([1 - foreground, foreground])
    score = score_labels("x", (foreground > 0.5).astype(np.uint8), truth, 2, both, partitions=True)
    assert score.soft_dice == pytest.approx(2 * 1.5 / (0.05**2 + 0.45**2 + 0.55**2 + 0.95**2 + 2))
    result = Evaluation(("background", "cell"), (score,))
    assert result.best["pixel error"] == (0, 0.5)
    assert result.best["Dice"] == (1, 0.5)
    assert result.cuts[0]["pixel error"] == 0.5
    assert result.cuts[10]["Dice"] == 0


def test_the_sheet_colours_what_is_wrong():
    from trainer.sheet import INVENTED, MISSED, MISTAKEN, compared

    truth = np.array([[0, 1, 1, 2]], np.uint8)
    labels = np.array([[1, 0, 1, 1]], np.uint8)
    picture = compared(np.zeros((1, 1, 4), np.uint8), labels, truth)
    for at, colour in ((0, INVENTED), (1, MISSED), (2, (0, 0, 0)), (3, MISTAKEN)):
        np.testing.assert_array_equal(picture[0, at], (0.65 * np.array(colour)).astype(np.uint8))
