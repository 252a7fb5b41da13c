"""A layer is segmented as its file would be, and can be ended; napari's layer stands here as the few things it says."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

import unet_deploy
from unet_deploy.measure.sample import SampleSlide
from unet_deploy.napari.source import Cancelled, LayerSource
from unet_deploy.napari.work import Wish, Work
from unet_deploy.segmentation.options import Options
from unet_deploy.tiling import Region


class NoUnit:
    def is_compatible_with(self, unit):
        return False


def layer(data, rgb=False):
    axes = data.ndim - (1 if rgb else 0)
    said = {"scale": (1.0,) * axes, "units": (NoUnit(),) * axes, "axis_labels": ("t", "z", "y", "x")[-axes:]}
    return SimpleNamespace(name="slide", data=data, multiscale=False, rgb=rgb, **said)


@pytest.fixture(scope="module")
def slide():
    light, _ = SampleSlide(256, 256, seed=3).block(0, 0)
    return np.clip(light[:256, :256] * 255, 0, 255).astype(np.uint8)


def test_axes_before_rows_are_pages_with_their_names():
    source = LayerSource(layer(np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)))
    assert [(axis.name, axis.size) for axis in source.info.page_axes] == [("t", 2), ("z", 3)]
    assert source.crop(4, Region(1, 2, 1, 2)).tolist() == [[[(1 * 3 + 1) * 20 + 7, (1 * 3 + 1) * 20 + 8]]]


def test_of_a_picture_the_colours_are_channels_and_alpha_is_none():
    data = np.arange(4 * 5 * 4, dtype=np.uint8).reshape(4, 5, 4)
    source = LayerSource(layer(data, rgb=True))
    assert np.array_equal(source.crop(0, source.info.region), np.moveaxis(data[..., :3], -1, 0))


def test_what_is_cancelled_reads_no_more():
    source = LayerSource(layer(np.zeros((8, 8))))
    source.cancelled.set()
    with pytest.raises(Cancelled):
        source.crop(0, source.info.region)


@pytest.mark.parametrize("region", [None, Region(40, 60, 100, 90)])
def test_a_layer_is_segmented_as_its_file_is(slide, region, tmp_path, undecided):
    tifffile.imwrite(tmp_path / "slide.tif", slide)
    unet_deploy.segment_file(tmp_path / "slide.tif", tmp_path / "mask.tif", undecided, Options(roi=region))
    work = Work(LayerSource(layer(slide)), Wish(undecided, region, objects=False))
    work.wait()
    assert work.failed == ""
    assert np.array_equal(tifffile.imread(work.made.labels), tifffile.imread(tmp_path / "mask.tif"))


def test_a_model_of_other_channels_is_one_line(slide, undecided):
    work = Work(LayerSource(layer(np.stack([slide] * 3, axis=-1), rgb=True)), Wish(undecided))
    work.wait()
    assert work.failed == (
        "slide: 3 channels, but model 'nuclei' takes 1; choose another model, or a layer with as many channels"
    )


def test_what_is_cancelled_makes_nothing_and_blames_nobody(slide, undecided):
    work = Work(LayerSource(layer(np.tile(slide, (8, 8)))), Wish(undecided))
    work.cancel()
    work.wait(60)
    assert (work.is_running, work.made, work.failed) == (False, None, "")
