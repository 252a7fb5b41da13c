"""An image whose objects are too large or too small for a model is seen at the scale at which they are not."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from scipy import ndimage

import unet_deploy as api
from unet_deploy.errors import UsageError
from unet_deploy.evaluation.evaluate import evaluate
from unet_deploy.evaluation.pairs import find_pairs
from unet_deploy.evaluation.record import record_decision
from unet_deploy.images.array import ArraySource
from unet_deploy.images.pyramid import OneLevel
from unet_deploy.model.contract import pixels_for
from unet_deploy.model.decision import UNDECIDED, Decision
from unet_deploy.model.onnx_file import read_model, save
from unet_deploy.segmentation import measuring, models
from unet_deploy.segmentation.forecast import forecast
from unet_deploy.segmentation.measuring import _sample, fitting
from unet_deploy.segmentation.models import Models
from unet_deploy.segmentation.run import Outputs
from unet_deploy.stream import pipeline
from unet_deploy.tiling import plan_tiles
from unet_deploy.zoo import Request

KNOWN = Decision(diameter=24, diameters=(18, 32))


def nuclei_of(diameter, side=900, space=2.2):
    """Bright discs with soft edges on a dark ground, (side, side) uint8."""
    rng = np.random.default_rng(diameter)
    image, rows, columns = np.full((side, side), 20.0), *np.indices((side, side))
    step = int(space * diameter)
    for y in range(step // 2, side, step):
        for x in range(step // 2, side, step):
            at = y + rng.integers(-2, 3), x + rng.integers(-2, 3)
            image[(rows - at[0]) ** 2 + (columns - at[1]) ** 2 < (diameter / 2) ** 2] = rng.integers(120, 200)
    image = ndimage.gaussian_filter(image, max(1.0, diameter / 20))
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def card(nuclei):
    return replace(read_model(nuclei).card, decision=KNOWN)


@pytest.fixture
def knowing(tmp_path, nuclei, card):
    path = tmp_path / "knowing.onnx"
    save(read_model(nuclei).proto, card, path)
    return path


@pytest.mark.parametrize(("diameter", "scale"), [(90, 0.25), (60, 0.42), (24, 1), (12, 2)])
def test_the_scale_follows_from_the_size_of_what_is_found(tmp_path, knowing, diameter, scale):
    tifffile.imwrite(tmp_path / "a.tif", nuclei_of(diameter, 900 if diameter > 20 else 300))
    report = api.segment(tmp_path / "a.tif", tmp_path / "m.tif", model=knowing, device="cpu")
    assert report.scaled.diameter == pytest.approx(diameter, rel=0.15)
    assert report.scaled.scale == pytest.approx(scale, rel=0.25)
    seen = tifffile.imread(tmp_path / "m.tif")
    truth = ndimage.label(nuclei_of(diameter, len(seen)) > 70)[1]
    assert ndimage.label(seen)[1] == pytest.approx(truth, rel=0.1)
    again = api.segment(tifffile.imread(tmp_path / "a.tif"), model=knowing, device="cpu")
    np.testing.assert_array_equal(again, seen)


@pytest.mark.parametrize("kind", ["counts", "saturated"])
def test_the_size_is_that_of_the_same_picture_in_any_type(knowing, kind):
    image = nuclei_of(60, 500)
    counts = np.random.default_rng(0).poisson(image / 60).astype(np.uint8) if kind == "counts" else image > 70
    pictures = [counts.astype(dtype) for dtype in (np.float32, np.uint8, np.uint16, np.uint32)]
    if kind == "saturated":
        pictures = [counts, *(each * np.iinfo(each.dtype).max for each in pictures[1:]), pictures[0]]
    found = []
    for picture in pictures:
        with Models(knowing, Request(device="cpu", pixels=pixels_for(picture.dtype))) as models:
            found.append(measuring.measure_scale(models, OneLevel(ArraySource(picture[None, None]))).scaled)
    assert 40 < found[0].diameter < 80
    assert [each.diameter for each in found] == pytest.approx([found[0].diameter] * len(found), rel=1e-3)


def test_a_scale_that_is_said_is_not_measured(tmp_path, knowing, monkeypatch):
    monkeypatch.setattr(measuring, "measure_scale", lambda *_: pytest.fail("it was measured"))
    image = nuclei_of(60, 300)
    for how in ({"scale": 1}, {"diameter": 60}):
        api.segment(image, model=knowing, device="cpu", **how)
    with api.open_model(knowing, device="cpu", scale=0.5) as model:
        api.segment(image, model=model)


def test_a_model_that_is_open_measures_as_its_file_does_from_any_number_of_threads(knowing):
    images = [nuclei_of(diameter, 300) for diameter in (24, 60, 90, 60, 24, 90)]
    expected = [api.segment(image, model=knowing, device="cpu") for image in images]
    with api.open_model(knowing, device="cpu") as model, ThreadPoolExecutor(3) as threads:
        for found, mask in zip(
            threads.map(lambda image: api.segment(image, model=model), images), expected, strict=True
        ):
            np.testing.assert_array_equal(found, mask)


def test_what_a_model_was_opened_at_besides_is_kept_for_the_next_image(knowing, monkeypatch):
    opened = []
    real = models.open_model
    monkeypatch.setattr(models.Models.__init__, "__defaults__", (lambda *of: opened.append(of[1].scale) or real(*of),))
    with api.open_model(knowing, device="cpu") as model:
        for _ in range(3):
            api.segment(nuclei_of(90, 300), model=model)
    assert len(opened) == len(set(opened)) > 0


def test_without_a_diameter_in_the_card_it_cannot_be_measured(undecided):
    with pytest.raises(UsageError, match="the card of model 'nuclei' does not say"):
        api.segment(nuclei_of(60, 200), model=undecided, diameter="auto", device="cpu")


def test_an_image_with_nothing_in_it_is_taken_as_it_is_and_says_so(tmp_path, knowing):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((300, 300), np.uint8))
    report = api.segment(tmp_path / "a.tif", tmp_path / "m.tif", model=knowing, device="cpu")
    assert str(report.scaled) == "nothing was found by which to choose a scale: the image is taken as it is"


def test_the_grey_scale_is_measured_once(tmp_path, knowing, monkeypatch):
    asked = Counter()
    real = measuring.measure_page

    def counted(source, page, *rest, **how):
        asked[page] += 1
        return real(source, page, *rest, **how)

    for module in (measuring, pipeline):
        monkeypatch.setattr(module, "measure_page", counted)
    stack = np.stack([nuclei_of(60, 300)] * 3)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    api.segment(tmp_path / "a.tif", tmp_path / "m.tif", model=knowing, device="cpu")
    api.segment(stack[:1, None], model=knowing, device="cpu")
    assert asked == {0: 2, 1: 1, 2: 1}


def test_the_dry_run_says_the_scale_of_the_run_and_a_resumed_run_finds_it_again(tmp_path, knowing):
    tifffile.imwrite(tmp_path / "a.tif", nuclei_of(90))
    how = {"model": knowing, "device": "cpu", "tile_size": 1000}
    with Models(knowing, Request(device="cpu")) as models:
        planned = forecast(tmp_path / "a.tif", models, Outputs(tmp_path / "m.tif"), api.Options())

    def dying(done, _):
        if done == 3:
            raise RuntimeError("the power fails")

    with pytest.raises(RuntimeError):
        api.segment(tmp_path / "a.tif", tmp_path / "m.tif", **how, progress=dying)
    report = api.segment(tmp_path / "a.tif", tmp_path / "m.tif", **how, resume=True)
    assert report.scaled == planned.scaled
    api.segment(tmp_path / "a.tif", tmp_path / "once.tif", **how)
    assert (tmp_path / "m.tif").read_bytes() == (tmp_path / "once.tif").read_bytes()


def test_to_evaluate_is_to_score_what_segment_makes(tmp_path, knowing):
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    image = nuclei_of(90)
    tifffile.imwrite(tmp_path / "data" / "images" / "a.tif", image)
    tifffile.imwrite(tmp_path / "data" / "masks" / "a.tif", ndimage.label(image > 70)[0].astype(np.uint16))
    pairs = find_pairs(tmp_path / "data")
    undecided = tmp_path / "undecided.onnx"
    record_decision(knowing, undecided, UNDECIDED)
    dices = [evaluate(each, pairs).scores[0].overlaps[0].dice for each in (knowing, undecided)]
    made = api.segment(image, model=knowing, device="cpu")
    truth = image > 70
    assert dices[0] == pytest.approx(2 * (made & truth).sum() / (made.sum() + truth.sum()), abs=1e-3)
    assert dices[0] > dices[1]


_PEAK = """
import sys
import unet_deploy as api
from unet_deploy.system.machine import peak_memory
api.segment(*sys.argv[1:3], model=sys.argv[3], device="cpu", max_memory=int(sys.argv[4]), skip_background=True)
print(peak_memory())
"""


def test_to_measure_keeps_to_the_memory_ceiling(tmp_path, knowing):
    tifffile.imwrite(tmp_path / "a.tif", np.tile(nuclei_of(90), (4, 4)), tile=(256, 256))
    ceiling = 450_000_000
    words = [sys.executable, "-c", _PEAK, *(str(tmp_path / name) for name in ("a.tif", "m.tif"))]
    done = subprocess.run([*words, str(knowing), str(ceiling)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < ceiling


def test_scales_are_four_to_an_octave_and_what_is_known_stays_as_it_is(card):
    scales = {fitting(diameter, card).scale for diameter in np.linspace(80, 110, 40)}
    assert len(scales) <= 3
    assert fitting(18, card).scale == fitting(32, card).scale == 1
    for diameter in np.geomspace(13, 400, 50):
        if not 18 <= diameter <= 32:
            assert fitting(diameter, card).scale * diameter == pytest.approx(24, rel=0.11)
    assert fitting(2, card).scale == 2, "specks do not enlarge an image without end"
    assert fitting(5000, card).scale == pytest.approx(0.05)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 64, 100, 1000, 20_000])
def test_the_sample_is_spread_bounded_and_comes_to_no_tile_twice(count, card):
    plan = plan_tiles(16 * 24, 16 * 24 * count, card, tile=2 * 92 + 16 * 24 + 4)
    chosen = [tile for tiles in _sample(plan) for tile in tiles]
    assert len({*chosen}) == len(chosen)
    assert len(chosen) == min(len(plan), 300, max(8, -(-len(plan) // 20)))
    if len(chosen) > 20:
        thirds = Counter(3 * tile.write.x // plan.width for tile in chosen)
        assert min(thirds.values()) > len(chosen) / 5
