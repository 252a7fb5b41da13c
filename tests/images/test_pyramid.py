"""Where an image is seen smaller than it is, the coarsest level that is fine enough is read, if it shows the same."""

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.errors import ImageError
from unet_deploy.images import ImageSource, open_image
from unet_deploy.images.array import ArraySource
from unet_deploy.images.enlarged import Enlarged
from unet_deploy.images.grey import measure_page
from unet_deploy.images.pyramid import LevelRead, Pyramid, levels_for
from unet_deploy.model.card import Normalization
from unet_deploy.tiling import Region

sides = st.integers(1, 40)


def means(image, step):
    """A level of (H, W) pixels as most writers make it: what does not fit at the end is dropped."""
    height, width = (side // step for side in image.shape)
    blocks = image[: height * step, : width * step].reshape(height, step, width, step).mean(axis=(1, 3))
    return blocks if image.dtype.kind == "f" else np.rint(blocks).astype(image.dtype)


def write(path, levels, **options):
    with tifffile.TiffWriter(path) as file:
        for at, pixels in enumerate(levels):
            below = {"subfiletype": 1} if at else {"subifds": len(levels) - 1}
            file.write(pixels, tile=(64, 64), **below, **options)
    return path


def read_at(path, scale, **options) -> LevelRead:
    with open_image(path, **options) as source, Pyramid(source) as levels:
        return levels.at(scale)


@pytest.mark.parametrize(("scale", "level"), [(1, None), (0.52, None), (0.51, 1), (0.5, 1), (0.252, 2), (0.01, 3)])
def test_the_coarsest_level_is_read_that_is_fine_enough(tmp_path, speckle, scale, level):
    path = write(tmp_path / "a.tif", [speckle, *(means(speckle, step) for step in (2, 4, 8))])
    assert read_at(path, scale).level == level


def test_a_level_that_is_open_is_the_finest_that_is_read(tmp_path, speckle):
    path = write(tmp_path / "a.tif", [speckle, *(means(speckle, step) for step in (2, 4, 8))])
    assert [read_at(path, scale, level=1).level for scale in (1, 0.5, 0.3, 0.25)] == [None, 2, 2, 3]


def test_a_level_that_is_no_whole_number_of_times_as_coarse_is_not_read(tmp_path, speckle):
    path = write(tmp_path / "a.tif", [speckle, speckle[:150, :150], means(speckle, 5)[:, :50]])
    read = read_at(path, 0.1)
    assert (read.level, read.passed_over) == (None, "")


@given(height=sides, width=sides, step=st.integers(2, 5), data=st.data())
def test_every_part_is_what_the_whole_has_there(height, width, step, data):
    coarse = np.random.default_rng(0).integers(0, 99, (-(-height // step), -(-width // step))).astype(np.uint8)
    source = Enlarged(ArraySource(np.zeros((height, width), np.uint8)), ArraySource(coarse), step)
    whole = np.repeat(np.repeat(coarse, step, 0), step, 1)[:height, :width]
    np.testing.assert_array_equal(source.crop(0, source.info.region)[0], whole)
    y, x = data.draw(st.integers(-9, height)), data.draw(st.integers(-9, width))
    part = Region(y, x, data.draw(sides), data.draw(sides))
    np.testing.assert_array_equal(source.read(0, part), ArraySource(whole).read(0, part))


def test_what_a_writer_dropped_at_the_edge_is_the_last_that_there_is():
    level = np.arange(9, dtype=np.uint8).reshape(3, 3)
    source = Enlarged(ArraySource(np.zeros((7, 7), np.uint8)), ArraySource(level), 2)
    np.testing.assert_array_equal(source.crop(0, Region(4, 0, 3, 7))[0], [[6, 6, 7, 7, 8, 8, 8]] * 3)


def test_the_grey_scale_is_that_of_the_pixels_that_are_read(speckle):
    coarse = ArraySource(means(speckle, 4))
    enlarged = Enlarged(ArraySource(speckle), coarse, 4)
    ours, theirs = (measure_page(source, 0, Normalization()) for source in (enlarged, coarse))
    assert (ours.offset, ours.scale) == (theirs.offset, theirs.scale)


def noisy(dtype, scale=1.0):
    rng = np.random.default_rng(3)
    ramp = np.add.outer(np.arange(400.0), np.arange(500.0)) / 4
    return (scale * np.clip(20 + ramp + rng.normal(0, 12, ramp.shape), 0, 255)).astype(dtype)


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 1), (np.uint16, 200), (np.float32, 1e-3)])
@pytest.mark.parametrize("step", [2, 4])
def test_levels_as_writers_make_them_are_read(tmp_path, dtype, scale, step):
    from scipy import ndimage

    image = noisy(dtype, scale)
    smooth = ndimage.gaussian_filter(image.astype(np.float64), step / 3)
    first = (step - 1) / 2
    between = ndimage.map_coordinates(smooth, np.mgrid[first:400:step, first:500:step], order=1, mode="nearest")
    for name, level in (("mean", means(image, step)), ("smoothed", between.astype(dtype))):
        path = write(tmp_path / f"{name}.tif", [image, level])
        assert read_at(path, 0.2).level == 1, name


@pytest.mark.parametrize("quality", [50, 75, 95])
@pytest.mark.parametrize("contrast", [0, 1])
def test_packing_with_loss_does_not_speak_against_a_level(tmp_path, quality, contrast):
    image = np.clip(contrast * noisy(np.float64) + np.random.default_rng(1).normal(30, 3, (400, 500)), 0, 255)
    image = image.astype(np.uint8)
    packed = {"compression": "jpeg", "compressionargs": {"level": quality}}
    path = write(tmp_path / "a.tif", [image, means(image, 4)], **packed)
    assert read_at(path, 0.25).level == 1


@pytest.mark.parametrize("quality", [30, 80])
def test_of_real_tissue_means_are_told_from_pixels_that_were_left_out(tmp_path, data, quality):
    tissue = tifffile.imread(data / "slide" / "CMU-1-Small-Region.svs")[600:1624, 400:1680]
    means_of_blocks = np.rint(tissue.reshape(256, 4, 320, 4, 3).mean(axis=(1, 3))).astype(np.uint8)
    packed = {"compression": "jpeg", "compressionargs": {"level": quality}, "photometric": "rgb"}
    for name, level, read in (("means", means_of_blocks, 1), ("left out", tissue[::4, ::4].copy(), None)):
        path = write(tmp_path / f"{name}.tif", [tissue, level], subsampling=(2, 2), **packed)
        assert read_at(path, 0.25).level == read


def upside_down(level):
    return level[::-1]


def of_nothing(level):
    return np.zeros_like(level)


def half_made(level):
    return np.where(np.arange(len(level))[:, None] < 70, level, 0).astype(np.uint8)


def inverted(level):
    return 255 - level


def moved(level):
    return np.roll(level, 40, axis=1)


@pytest.mark.parametrize("spoil", [upside_down, of_nothing, half_made, inverted, moved])
def test_a_level_that_shows_something_else_is_passed_over_with_a_word(tmp_path, spoil):
    image = noisy(np.uint8)
    path = write(tmp_path / "a.tif", [image, means(image, 2), spoil(means(image, 4))])
    read = read_at(path, 0.25)
    assert read.level == 1
    assert read.passed_over == "level 2 would do, but its pixels are not means of those that they cover"


@pytest.mark.parametrize("step", [2, 4])
def test_every_so_many_th_pixel_of_a_noisy_image_is_no_level_to_read(tmp_path, step):
    image = noisy(np.uint8)
    path = write(tmp_path / "a.tif", [image, image[::step, ::step]])
    assert "are not means" in read_at(path, 0.25).passed_over


def test_where_data_may_be_missing_the_finest_is_read(tmp_path, speckle):
    path = write(tmp_path / "a.tif", [speckle, means(speckle, 2)])
    with open_image(path) as source, Pyramid(source) as levels:
        source.asked_nodata = 0.0
        read = levels.at(0.5)
    assert (read.source, read.level) == (source, None)
    assert read.passed_over == "level 1 would do, but where data is missing is known of the finest alone"


def test_a_level_that_cannot_be_decoded_is_passed_over_or_named(tmp_path, speckle):
    image = np.tile(speckle, (2, 2))
    path = write(tmp_path / "a.tif", [image, means(image, 2)], compression="zlib")
    with tifffile.TiffFile(path) as file:
        offsets = file.series[0].levels[1].keyframe.dataoffsets
    whole = bytearray(path.read_bytes())
    whole[offsets[1] : offsets[1] + 40] = bytes(40)  # between the squares that are looked at
    path.write_bytes(whole)
    with open_image(path) as source, Pyramid(source) as levels:
        read = levels.at(0.5)
        with pytest.raises(ImageError, match=r"\(level 1, which is read at this scale\)"):
            read.source.crop(0, read.source.info.region)
    whole[offsets[0] : offsets[0] + 40] = bytes(40)
    path.write_bytes(whole)
    assert "level 1 would do, but cannot be read" in read_at(path, 0.5).passed_over


def test_pages_or_channels_of_another_number_are_no_level(tmp_path):
    zarr = pytest.importorskip("zarr")
    full = np.random.default_rng(0).integers(0, 255, (4, 80, 80), np.uint8)
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    datasets = [
        {"path": str(at), "coordinateTransformations": [{"type": "scale", "scale": [2.0**at] * 3}]} for at in range(2)
    ]
    group = zarr.create_group(
        str(tmp_path / "a.zarr"),
        attributes={"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}},
    )
    for at, pixels in enumerate((full, full[::2, ::2, ::2])):
        group.create_array(str(at), shape=pixels.shape, chunks=(1, 64, 64), dtype=pixels.dtype)[:] = pixels
    assert read_at(tmp_path / "a.zarr", 0.5).passed_over.endswith("its pages, channels or kind of pixels are others")


def test_an_image_that_is_tiny_has_no_level_to_speak_of():
    source = ArraySource(np.zeros((3, 900), np.uint8))
    assert levels_for(source.info, 0.05) == []


def test_a_level_is_opened_and_looked_at_once(tmp_path, speckle, monkeypatch):
    path = write(tmp_path / "a.tif", [speckle, means(speckle, 2)])
    with open_image(path) as source, Pyramid(source) as levels:
        first = levels.at(0.5).source
        monkeypatch.setattr(ImageSource, "reopened", lambda *_: pytest.fail("it was opened again"))
        assert levels.at(0.4).source is first
