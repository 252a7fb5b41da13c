"""Files at a scale: masks on the image's own grid, whatever is asked, resumed, cut out or shared."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile

import unet_deploy as api
from unet_deploy.errors import ImageError, UsageError
from unet_deploy.images import ImageInfo
from unet_deploy.images.sizes import PixelSizes
from unet_deploy.model.decision import Decision
from unet_deploy.model.onnx_file import read_model, save
from unet_deploy.segmentation.models import Models
from unet_deploy.segmentation.scaling import Scaling, scale_of
from unet_deploy.zoo import Request


@pytest.fixture
def slide(tmp_path, speckle):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, np.tile(speckle, (2, 2))[:640, :800], resolution=(4e4, 4e4), resolutionunit=3)
    return path


@pytest.fixture
def knowing(tmp_path, nuclei):
    """The shipped model with a card that says which objects and pixels it knows."""
    file, path = read_model(nuclei), tmp_path / "knowing.onnx"
    save(file.proto, replace(file.card, pixel_size_um=0.5, decision=Decision(diameter=28)), path)
    return path


def seen(path):
    return tifffile.imread(path)


def test_a_file_an_array_and_an_opened_model_have_one_answer_on_the_images_grid(slide, tmp_path):
    report = api.segment(slide, tmp_path / "m.tif", scale=0.4, device="cpu")
    assert report.scaled.scale == pytest.approx(0.4)
    mask = seen(tmp_path / "m.tif")
    assert mask.shape == seen(slide).shape
    assert mask.any()
    np.testing.assert_array_equal(api.segment(seen(slide), scale=0.4, device="cpu"), mask)
    with api.open_model(device="cpu", scale=0.4) as model:
        np.testing.assert_array_equal(api.segment(seen(slide), model=model), mask)


def test_tiles_and_a_region_leave_the_answer_as_it_is(slide, tmp_path):
    for name, how in (("whole", {}), ("tiled", {"tile_size": 1000}), ("part", {"roi": (100, 200, 333, 255)})):
        api.segment(slide, tmp_path / f"{name}.tif", scale=0.4, device="cpu", **how)
    whole, tiled, part = (seen(tmp_path / f"{name}.tif") for name in ("whole", "tiled", "part"))
    np.testing.assert_array_equal(tiled, whole)
    np.testing.assert_array_equal(part[100:433, 200:455], whole[100:433, 200:455])


def test_a_broken_run_goes_on_at_its_scale_and_at_no_other(slide, tmp_path, small_models):
    how = {"scale": 0.4, "device": "cpu", "model": small_models["one"], "tile_size": 300}
    api.segment(slide, tmp_path / "once.tif", **how)

    def dying(done, total):
        if done == total - 1:  # tiles wait to be written: of the first eight none might be yet
            raise RuntimeError("the power fails")

    with pytest.raises(RuntimeError):
        api.segment(slide, tmp_path / "m.tif", **how, progress=dying)
    with pytest.raises(UsageError, match="had another scale"):
        api.segment(slide, tmp_path / "m.tif", **{**how, "scale": 0.5}, resume=True)
    report = api.segment(slide, tmp_path / "m.tif", **how, resume=True)
    assert report.timing.resumed > 0
    np.testing.assert_array_equal(seen(tmp_path / "m.tif"), seen(tmp_path / "once.tif"))


def test_a_size_that_is_not_known_or_leads_too_far_says_so(knowing):
    card = read_model(knowing).card
    info = ImageInfo("a.tif", 1, 1, 10, 10, np.dtype("uint8"))
    with pytest.raises(ImageError, match=r"a.tif: does not say how large its pixels are; give --pixel-size"):
        scale_of(Scaling(pixel_size="auto"), card, info)
    with pytest.raises(UsageError, match=r"--diameter 2: is a scale of 14 for model 'nuclei'"):
        scale_of(Scaling(diameter=2), card, info)
    small = replace(info, sizes=PixelSizes(0.01, 0.01))
    with pytest.raises(UsageError, match=r"--pixel-size 0.01: is a scale of 0.02"):
        scale_of(Scaling(pixel_size="auto"), card, small)


def test_a_model_that_was_opened_at_a_scale_keeps_it_and_its_threshold(slide, tmp_path):
    with api.open_model(device="cpu") as model:
        api.segment(slide, tmp_path / "a.tif", model=model, scale=0.5)
    api.segment(slide, tmp_path / "b.tif", device="cpu", scale=0.5)
    np.testing.assert_array_equal(seen(tmp_path / "a.tif"), seen(tmp_path / "b.tif"))
    with api.open_model(device="cpu", scale=0.4) as model:
        with pytest.raises(UsageError, match="this model is open at a scale already"):
            api.segment(slide, tmp_path / "m.tif", model=model, scale=0.5)
        with pytest.raises(UsageError, match="this model is open already"):
            api.segment(slide, tmp_path / "m.tif", model=model, threshold=0.4)


def test_a_model_stays_open_at_three_scales_until_it_is_closed(nuclei):
    opened = []

    def open_one(path, request):
        opened.append(request.scale)
        return api.open_model(path, request)

    scales = (0.5, 1.0, 0.6)
    with Models(nuclei, Request(device="cpu"), open_one) as models:
        first, *_ = [models.at(scale) for scale in (*scales, *scales)]
        assert opened == [*scales]
        models.at(0.3)
        with pytest.raises(UsageError, match="closed"):
            api.segment(np.zeros((60, 60), np.uint8), model=first)
        assert models.at(0.3).card.stride == 107
        look = models.looking()
        assert models.looking() is look
        models.close()
        models.at(0.6)
    assert opened == [*scales, 0.3, 1.0, 0.6]


def test_a_scale_of_one_makes_the_bytes_that_none_makes(slide, undecided, tmp_path):
    for name, how in (("a", {}), ("b", {"scale": 1})):
        api.segment(slide, tmp_path / f"{name}.tif", model=undecided, device="cpu", **how)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


_PEAK = """
import sys
import unet_deploy as api
from unet_deploy.system.machine import peak_memory
with api.open_model(device="cpu", runtime=sys.argv[1], scale=float(sys.argv[2])) as model:
    report = api.segment(sys.argv[3], sys.argv[3] + ".mask.tif", model=model, max_memory=int(sys.argv[4]))
print(peak_memory(), len(report.plan))
"""


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("scale", [0.31, 1.7])
def test_the_memory_ceiling_holds_at_any_scale(tmp_path, speckle, runtime, scale):
    pytest.importorskip(runtime)
    side, ceiling = (4000, 700) if scale < 1 else (1000, 600)
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, np.tile(speckle, (8, 8))[:side, :side], tile=(256, 256))
    words = [sys.executable, "-c", _PEAK, runtime, str(scale), str(path), str(ceiling * 10**6)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    peak, tiles = map(int, done.stdout.split())
    assert tiles > 1
    assert 0.4 * ceiling < peak / 1e6 < ceiling
