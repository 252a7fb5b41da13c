"""The mean over eight orientations: what it is, that it leaves no seams, and that it turns with the image."""

import numpy as np
import pytest
import tifffile
from command_line import unet_deploy
from hypothesis import given, settings
from hypothesis import strategies as st

import unet_deploy as api
from unet_deploy.errors import UsageError
from unet_deploy.runtimes import Limits
from unet_deploy.runtimes.agreement import compare
from unet_deploy.stream.tta import ORIENTATIONS, Averaging, oriented, restored


@given(st.integers(1, 7), st.integers(1, 7))
def test_all_eight_orientations_differ_and_are_undone(height, width):
    planes = np.arange(2 * height * width).reshape(2, height, width)
    ways = [oriented(planes, *way) for way in ORIENTATIONS]
    for way, turned in zip(ORIENTATIONS, ways, strict=True):
        np.testing.assert_array_equal(restored(turned, *way), planes)
    if height > 1 and width > 1:
        assert len({each.tobytes() + bytes(each.shape) for each in ways}) == 8


@pytest.mark.parametrize(("name", "sides"), [("one", (96, 132)), ("three", (64, 64))])
def test_it_is_the_mean_of_the_answers_for_eight_images(small_models, speckle, name, sides):
    image = speckle[: sides[0], : sides[1]]
    with api.open_model(small_models[name], probabilities=True) as model:
        labels, mean = api.segment(image, model=model, tta=True, probabilities=True)
        answers = []
        for way in ORIENTATIONS:
            turned = np.ascontiguousarray(oriented(image, *way))
            answers.append(restored(api.segment(turned, model=model, probabilities=True)[1], *way))
    np.testing.assert_allclose(mean, np.mean(answers, axis=0), atol=1e-5)
    assert np.abs(mean - answers[0]).max() > 0.01
    clear = np.diff(np.sort(mean, axis=0)[-2:], axis=0)[0] > 1e-4
    np.testing.assert_array_equal(labels[clear], mean.argmax(axis=0)[clear])


@settings(max_examples=20)
@given(st.integers(1, 260), st.integers(1, 260), st.integers(0, 150))
def test_it_leaves_no_seams(small_models, speckle, height, width, tile):
    image = speckle[:height, :width]
    with api.open_model(small_models["one"], probabilities=True) as model:
        least = model.card.base + 2 * model.card.stride
        whole = api.segment(image, model=model, tile_size=1300, probabilities=True, tta=True)
        tiled = api.segment(image, model=model, tile_size=least + tile, probabilities=True, tta=True)
    agreement = compare(*whole, *tiled)
    assert agreement.holds, agreement


def test_it_turns_with_the_image(small_models, speckle):
    image = speckle[:128, :96]
    with api.open_model(small_models["one"], probabilities=True) as model:
        upright = api.segment(image, model=model, probabilities=True, tta=True)[1]
        for way in ORIENTATIONS:
            turned = np.ascontiguousarray(oriented(image, *way))
            again = api.segment(turned, model=model, probabilities=True, tta=True)[1]
            np.testing.assert_allclose(restored(again, *way), upright, atol=1e-5)


def test_on_the_command_line(nuclei, tmp_path, speckle):
    tifffile.imwrite(tmp_path / "image.tif", speckle[:200, :220])
    words = ("segment", tmp_path / "image.tif", "-o", tmp_path / "mask.tif")
    shown, _ = unet_deploy(*words, "--tta", "--scale", 0.5)
    assert "mean of 8 orientations" in shown
    expected = api.segment(speckle[:200, :220], model=nuclei, tta=True, scale=0.5)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mask.tif"), expected)
    once = api.segment(speckle[:200, :220], model=nuclei, scale=0.5)
    assert (once != expected).any()


def test_what_cannot_be_averaged_is_said(small_models):
    with api.open_model(small_models["one"]) as labels_only, pytest.raises(UsageError, match="probabilities"):
        Averaging(labels_only)
    with api.open_model(small_models["one"], probabilities=True) as model:
        model.limits = Limits(1, (100, 200), (100, 200), hard=True)
        with pytest.raises(UsageError, match="square"):
            Averaging(model)
