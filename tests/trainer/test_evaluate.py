"""Evaluation runs the deployed model, and counts what a person would count."""

import numpy as np
import pytest
import tifffile

from trainer.data import find_pairs
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
    score = score_labels("by hand", found, truth, objects, 2)
    assert score.dice == (pytest.approx(2 * 9 / (10 + 18)),)
    assert (score.matches[0].true, score.matches[0].false, score.matches[0].missed) == (1, 1, 1)
    perfect = score_labels("perfect", truth, truth, objects, 2)
    both = Evaluation(("background", "cell"), (score, perfect))
    assert both.mean_dice == (pytest.approx((1 + 18 / 28) / 2),)
    assert both.pooled_dice == (pytest.approx(2 * 27 / (28 + 36)),)
    assert both.f1[0] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))


def test_the_shipped_model_finds_real_nuclei(data, nuclei):
    pairs = [pair for pair in find_pairs(data / "dsb2018")][::110]
    with open_model(nuclei) as model:
        result = evaluate(model, pairs)
    assert len(result.scores) == 6
    assert result.pooled_dice[0] > 0.85


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
