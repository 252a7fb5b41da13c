"""A run says when its mask is not to be trusted, by what the model itself is unsure of."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import unet_deploy as api
from unet_deploy.evaluation.answers import Folder, see
from unet_deploy.evaluation.calibration import BAD
from unet_deploy.evaluation.record import record_decision
from unet_deploy.model.decision import UNDECIDED
from unet_deploy.model.onnx_file import read_model
from unet_deploy.runtimes.request import Request
from unet_deploy.segmentation.models import Models
from unet_deploy.segmentation.scaling import Scaled
from unet_deploy.segmentation.trust import Confidence, judge

seeds = st.integers(0, 10**6)


def told(foreground, threshold=0.5):
    """Labels and probabilities of two classes."""
    return (foreground > threshold).astype(np.uint8), np.stack([1 - foreground, foreground])


@given(seeds, st.integers(0, 12), st.integers(0, 12))
def test_it_does_not_matter_how_an_answer_is_cut(seed, row, column):
    labels, scores = told(np.random.default_rng(seed).random((12, 12)) ** 2)
    whole, parts = Confidence(), Confidence()
    whole.add(labels, scores)
    for rows in (slice(None, row), slice(row, None)):
        for columns in (slice(None, column), slice(column, None)):
            parts.add(labels[rows, columns], scores[:, rows, columns])
    assert (parts.pixels, parts.foreground) == (whole.pixels, whole.foreground)
    assert parts.mean == pytest.approx(whole.mean)


@given(seeds, st.floats(0.3, 0.7))
def test_it_is_the_precision_that_truths_have_which_follow_the_probabilities(seed, threshold):
    rng = np.random.default_rng(seed)
    foreground = rng.random((40, 40)) ** 2
    labels, scores = told(foreground, threshold)
    confidence = Confidence()
    confidence.add(labels, scores)
    truths = rng.random((60, 40, 40)) < foreground
    assert confidence.mean == pytest.approx(truths[:, labels > 0].mean(), abs=0.03)


def test_what_is_certain_is_trusted_and_of_nothing_nothing_is_said():
    confidence = Confidence()
    assert confidence.mean is None
    confidence.add(*told(np.zeros((4, 4))))
    assert confidence.mean is None
    confidence.add(*told(np.ones((4, 4))))
    assert confidence.mean == 1
    confidence = Confidence()
    confidence.add(np.ones((4, 4), np.uint8), None)
    assert confidence.mean is None


@pytest.mark.parametrize(
    ("diameter", "scale", "doubt"),
    [(None, 1, None), (30, 1, None), (8, 2, "objects of about 16 px, and it knows 20 to 45"), (900, 0.0625, "56.2 px")],
)
def test_objects_beyond_every_scale_are_a_doubt(diameter, scale, doubt):
    confidence = Confidence()
    confidence.add(*told(np.ones((4, 4))))
    decision = replace(UNDECIDED, diameter=28, diameters=(20, 45), trusted_from=0.8)
    found = judge(confidence, decision, Scaled(scale, "", diameter), found_nothing=False)
    assert [doubt in each for each in found.doubts] == ([True] if doubt else [])


@pytest.mark.parametrize("scale", [None, 1])
def test_a_clear_image_is_trusted_and_the_same_drowned_in_noise_is_not(tmp_path, nuclei_image, scale):
    drowned = nuclei_image + np.random.default_rng(0).normal(0, 250, nuclei_image.shape).astype(np.float32)
    found = []
    for name, image in (("clear", nuclei_image), ("drowned", drowned)):
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
        mask = tmp_path / f"{name}.mask.tif"
        report = api.segment(tmp_path / f"{name}.tif", output=mask, device="cpu", scale=scale)
        found.append(report.trust)
    assert found[0].confidence > 0.85
    assert not found[0].doubts
    assert found[1].doubts, found[1]


def test_at_another_threshold_no_bound_is_known(tmp_path, nuclei_image):
    drowned = nuclei_image + np.random.default_rng(0).normal(0, 250, nuclei_image.shape).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", drowned)
    report = api.segment(tmp_path / "a.tif", output=tmp_path / "m.tif", device="cpu", scale=1, threshold=0.3)
    assert report.trust.confidence < 0.8
    assert not report.trust.doubts


def test_an_empty_image_is_no_silent_success(tmp_path):
    tifffile.imwrite(tmp_path / "dark.tif", np.full((400, 500), 7, np.uint8))
    report = api.segment(tmp_path / "dark.tif", output=tmp_path / "m.tif", device="cpu")
    assert report.trust.doubts == ("nothing was found",)


def test_a_card_that_knows_no_bound_costs_and_says_nothing(tmp_path, undecided, speckle):
    tifffile.imwrite(tmp_path / "a.tif", speckle)
    report = api.segment(tmp_path / "a.tif", output=tmp_path / "m.tif", model=undecided, device="cpu")
    assert report.trust.confidence is None
    with Models(undecided, Request(device="cpu")) as models:
        assert not models.at(1).probabilities


def test_tiles_orientations_and_a_part_are_judged_alike(tmp_path, nuclei_image):
    tifffile.imwrite(tmp_path / "a.tif", nuclei_image)
    found = []
    for name, options in enumerate(({}, {"tile_size": 444}, {"tta": True})):
        mask = tmp_path / f"{name}.tif"
        report = api.segment(tmp_path / "a.tif", output=mask, device="cpu", scale=1, **options)
        found.append(report.trust.confidence)
    assert found[1] == pytest.approx(found[0], abs=1e-5)
    assert found[2] == pytest.approx(found[0], abs=0.03)


def test_what_is_no_image_of_nuclei_is_doubted(data, tmp_path):
    image = min((data / "usiigaci_phase" / "images").iterdir())
    report = api.segment(image, output=tmp_path / "m.tif", device="cpu")
    assert report.trust.doubts
    assert report.trust.confidence < 0.75


@pytest.mark.long
def test_images_held_back_rank_as_their_true_scores(data, nuclei, tmp_path):
    model = tmp_path / "nuclei.onnx"
    decision = read_model(nuclei).card.decision
    record_decision(nuclei, model, decision)
    with Models(model, Request(probabilities=True, device="cpu")) as models:
        seen, _ = see(models, [Folder(data / "dsb2018", validation="every:10")])
    sure = [each.confidence(decision) for each in seen]
    f1 = np.array([each.f1(decision)[0] for each in seen])
    assert stats.spearmanr(sure, f1)[0] > 0.35  # nearly all are good; where bad ones are among them it is 0.85
    good = f1 >= BAD
    assert np.mean(np.array(sure)[good] < decision.trusted_from) < 0.1
