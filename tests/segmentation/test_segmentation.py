"""The answer of a whole image, whatever the tiles, the file and its pixels are."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unet_deploy
from unet_deploy import errors
from unet_deploy.errors import ImageError, UsageError
from unet_deploy.images import open_image
from unet_deploy.masks.overlay import legend
from unet_deploy.measure.verify import verify_tiled
from unet_deploy.runtimes.agreement import TOLERANCE, compare
from unet_deploy.segmentation.run import Options, Outputs, segment_file

FIXTURE = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_same_answer(whole, tiled):
    agreement = compare(*whole, *tiled)
    assert agreement.holds, agreement


@FIXTURE
@given(
    name=st.sampled_from(["one", "three", "deep"]),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    tile=st.integers(0, 200),
)
def test_tiled_equals_whole_image(small_models, speckle, name, height, width, tile):
    image = speckle[:height, :width]
    with unet_deploy.open_model(small_models[name], probabilities=True) as model:
        least = model.card.base + 2 * model.card.stride
        whole = unet_deploy.segment(image, model=model, tile_size=1300, probabilities=True)
        tiled = unet_deploy.segment(image, model=model, tile_size=least + tile, probabilities=True)
    assert_same_answer(whole, tiled)
    assert whole[0].shape == image.shape


@pytest.mark.parametrize("stem", ["00071198d059ba7f", "724b6b7044522f6d", "08275a5b1c2dfcd7"])
def test_tiled_equals_whole_image_on_real_images(data, undecided, stem):
    image = imagecodecs.png_decode((data / "dsb2018" / "images" / f"{stem}.png").read_bytes())[:700, :600]
    with unet_deploy.open_model(undecided, probabilities=True) as model:
        whole = unet_deploy.segment(image, model=model, tile_size=1212, probabilities=True)
        tiled = unet_deploy.segment(image, model=model, tile_size=300, probabilities=True)
    assert_same_answer(whole, tiled)


def test_tiles_off_the_pooling_phase_would_leave_seams(small_models, speckle):
    """The guarantee is not empty: steps that ignore the stride change the answer."""
    image = speckle[:300, :300]
    with unet_deploy.open_model(small_models["deep"], probabilities=True) as model:
        whole = unet_deploy.segment(image, model=model, tile_size=1300, probabilities=True)[1]
        shifted = unet_deploy.segment(image[4:], model=model, tile_size=1300, probabilities=True)[1]
    inner = slice(110, 180)
    assert np.abs(whole[:, 4:][:, inner, inner] - shifted[:, inner, inner]).max() > 100 * TOLERANCE


def test_probabilities_sum_to_one_and_labels_are_the_largest(small_models, speckle):
    labels, scores = unet_deploy.segment(speckle, model=small_models["three"], probabilities=True)
    np.testing.assert_allclose(scores.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(labels, scores.argmax(axis=0))
    assert len(np.unique(labels)) == 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (600, 1), (3, 5), (187, 189), (513, 511)])
def test_images_of_any_size_have_a_mask_of_their_size(nuclei, shape):
    assert unet_deploy.segment(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)).shape == shape


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.float64, np.uint32])
def test_the_answer_does_not_depend_on_the_unit_of_the_grey_values(small_models, speckle, dtype):
    image = speckle[:200, :200]
    factor = 100 if np.dtype(dtype).itemsize > 1 else 1
    expected = unet_deploy.segment(image, model=small_models["one"], probabilities=True)
    scaled = unet_deploy.segment(
        (image.astype(dtype) * factor).astype(dtype), model=small_models["one"], probabilities=True
    )
    assert_same_answer(expected, scaled)


def test_each_page_is_normalised_by_itself(small_models, speckle):
    stack = np.stack([speckle[None, :100, :100], speckle[None, :100, :100] // 4])
    masks = unet_deploy.segment(stack, model=small_models["one"])
    np.testing.assert_array_equal(masks[0], unet_deploy.segment(stack[0, 0], model=small_models["one"]))
    np.testing.assert_array_equal(masks[1], unet_deploy.segment(stack[1, 0], model=small_models["one"]))


def test_files_and_arrays_give_the_same_mask(tmp_path, small_models, speckle):
    path, output = tmp_path / "image.tif", tmp_path / "mask.tif"
    stack = np.stack([speckle[:260, :333], speckle[100:360, 100:433]])
    tifffile.imwrite(path, stack, tile=(64, 64), compression="zlib", photometric="minisblack")
    seen = []
    report = unet_deploy.segment(
        path,
        output,
        model=small_models["three"],
        tile_size=200,
        probabilities=True,
        overlay=True,
        progress=lambda *at: seen.append(at),
    )
    labels, scores = unet_deploy.segment(stack[:, None], model=small_models["three"], probabilities=True)
    np.testing.assert_array_equal(tifffile.imread(output), labels)
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "mask.probabilities.tif").reshape(scores.shape), scores.astype(np.float32)
    )
    picture = imagecodecs.png_decode((tmp_path / "mask.overlay.png").read_bytes())
    names = legend(("class 1", "class 2"), 333)
    assert picture.shape == (260 + len(names), 333, 3)
    np.testing.assert_array_equal(picture[260:], names)
    assert seen[-1][0] == seen[-1][1] == 2 * len(report.plan)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "image.tif",
        "mask.overlay.png",
        "mask.probabilities.tif",
        "mask.tif",
    ]


def test_colour_models_take_colour_images(tmp_path, small_models, speckle):
    image = np.stack([speckle, speckle.T, 255 - speckle])
    assert unet_deploy.segment(image, model=small_models["colour"]).shape == speckle.shape
    with pytest.raises(ImageError, match=r"array: 1 channel, but model 'colour' takes 3"):
        unet_deploy.segment(speckle, model=small_models["colour"])
    with pytest.raises(ImageError, match=r"3 channels, but model 'one' takes 1; it is read as \(pages, C, H, W\)"):
        unet_deploy.segment(image, model=small_models["one"])


def test_a_failing_run_leaves_nothing_behind(tmp_path, small_models, speckle):
    pixels = speckle.astype(np.float32)
    pixels[400, 400] = np.nan
    path = tmp_path / "nan.tif"
    tifffile.imwrite(path, pixels)
    with pytest.raises(ImageError, match=r"nan\.tif: has pixels that are NaN"):
        unet_deploy.segment(path, tmp_path / "mask.tif", model=small_models["three"], probabilities=True, overlay=True)
    assert [p.name for p in tmp_path.iterdir()] == ["nan.tif"]


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.long)])
def test_every_odd_tiff_ends_in_a_mask_of_its_shape_or_one_line(data, small_models, tmp_path, every):
    paths = sorted((data / "tiff_corpus").rglob("*.tif*"))[::every]
    outcomes = [odd_tiff(path, tmp_path / "mask.tif", small_models) for path in paths]
    assert outcomes.count(True) >= 140 // every
    assert list(tmp_path.iterdir()) == []


def odd_tiff(path: Path, output: Path, models: dict[str, Path]) -> bool:
    """Whether a mask came of it; fails on anything but a mask or one line."""
    try:
        with open_image(path) as source:
            info = source.info
        unet_deploy.segment(path, output, model=models[f"least {info.channels}"], overwrite=True)
    except ImageError as error:
        if "\n" in str(error) or not str(error).startswith(str(path)):
            pytest.fail(f"not one line that names the file: {error}")
        return False
    with tifffile.TiffFile(output) as mask:
        assert len(mask.pages) == info.pages
        assert mask.pages[0].shape == (info.height, info.width)
    output.unlink()
    return True


def test_a_model_opened_for_labels_alone_says_so(small_models, speckle):
    with (
        unet_deploy.open_model(small_models["one"]) as model,
        pytest.raises(UsageError, match=r"open_model\(\.\.\., probabilities=True\)"),
    ):
        unet_deploy.segment(speckle, model=model, probabilities=True)


def test_verify_finds_no_seam_and_would_find_one(tmp_path, nuclei, speckle):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, speckle)
    with unet_deploy.open_model(nuclei, probabilities=True) as model:
        check = verify_tiled(model, path)
    assert len(check.plan) > 4
    assert check.agreement.holds
    labels, scores = np.zeros((4, 4), np.uint8), np.stack([np.full((4, 4), 0.9), np.full((4, 4), 0.1)])
    other_labels, other_scores = labels.copy(), scores.copy()
    other_labels[2, 2], other_scores[:, 2, 2] = 1, (0.4, 0.6)
    seam = compare(labels, scores, other_labels, other_scores)
    assert (seam.labels_differ, seam.ties, seam.worst_probability, seam.holds) == (1, 0, pytest.approx(0.5), False)
    other_scores[0, 0, 0] = np.nan
    assert compare(labels, scores, labels, other_scores).not_finite == 1


def test_the_face_has_what_a_script_needs_and_all_errors():
    needed = {
        "segment",
        "segment_file",
        "open_model",
        "ModelCard",
        "Options",
        "Outputs",
        "Report",
        "ObjectRules",
        "Scaling",
        "suggest",
        "Suggestion",
        "Wanted",
    }
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert set(unet_deploy.__all__) == needed | kinds | {"__version__"}
    assert all(hasattr(unet_deploy, name) for name in unet_deploy.__all__)
    assert Path(unet_deploy.__file__).with_name("py.typed").exists()


def test_uniform_tiles_are_skipped_and_the_rest_is_unchanged(tmp_path, nuclei, speckle):
    """A slide that is mostly glass with noise: fewer tiles are computed, and what is there is the same."""
    rng = np.random.default_rng(0)
    slide = rng.integers(20, 26, (1800, 1800)).astype(np.uint8)
    slide[700:1200, 700:1200] = speckle
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, slide)
    with unet_deploy.open_model(nuclei, probabilities=True) as model:
        masks = {}
        for skip in (False, True):
            outputs = Outputs(tmp_path / f"{skip}.tif", tmp_path / f"{skip}.probabilities.tif")
            report = segment_file(path, outputs, model, Options(572, skip_background=skip))
            masks[skip] = tifffile.imread(outputs.mask)
            assert bool(report.timing.skipped) == skip
    assert report.timing.skipped >= len(report.plan) // 2
    np.testing.assert_array_equal(masks[True], masks[False])
    assert masks[True].any()
    scores = tifffile.imread(tmp_path / "True.probabilities.tif")
    np.testing.assert_allclose(scores.sum(axis=0), 1, atol=1e-5)
