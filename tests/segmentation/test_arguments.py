"""What callers of the Python API hand in: arrays of other libraries, numbers of NumPy, and what does not fit."""

import re

import numpy as np
import pytest
from PIL import Image

import unet_deploy as api
from unet_deploy.errors import ImageError, UsageError
from unet_deploy.images.array import as_array
from unet_deploy.model.decision import UNDECIDED
from unet_deploy.segmentation.options import ObjectRules, Options
from unet_deploy.tiling import Region


class Held:
    """Anything that NumPy can take."""

    def __init__(self, pixels):
        self.pixels = pixels

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.pixels, Exception):
            raise self.pixels
        return self.pixels


def dask(pixels):
    return pytest.importorskip("dask.array").from_array(pixels, chunks=50)


def zarr(pixels):
    return pytest.importorskip("zarr").array(pixels)


def torch(pixels):
    return pytest.importorskip("torch").from_numpy(pixels)


def xarray(pixels):
    return pytest.importorskip("xarray").DataArray(pixels)


@pytest.mark.parametrize(
    "held",
    [dask, zarr, torch, xarray, Held, Image.fromarray, np.matrix, np.ma.array],
    ids=lambda f: f.__name__,
)
def test_what_numpy_takes_is_an_image(small_models, speckle, held):
    image = np.ascontiguousarray(speckle[:120, :140])
    expected = api.segment(image, model=small_models["one"])
    np.testing.assert_array_equal(api.segment(held(image), model=small_models["one"]), expected)


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("RGBA", 3), ("LA", 1), ("I;16", 1), ("F", 1), ("1", 1)])
def test_a_picture_of_pillows_has_its_channels_first_and_no_alpha(mode, channels):
    pixels = as_array(Image.new(mode, (30, 20)))
    assert pixels.reshape(-1, *pixels.shape[-2:]).shape == (channels, 20, 30)


def test_what_an_array_masks_is_no_data(small_models, speckle):
    image = np.ascontiguousarray(speckle[:120, :140])
    masked = np.ma.array(image, mask=np.zeros(image.shape, np.bool_))
    masked[:40] = np.ma.masked
    masked.data[:40] = 255
    mask, scores = api.segment(masked, model=small_models["one"], probabilities=True)
    assert not mask[:40].any()
    assert (scores[0, :40] == 1).all()
    clear = Image.fromarray(np.dstack([masked.data, np.where(masked.mask, 0, 255).astype(np.uint8)]), "LA")
    np.testing.assert_array_equal(api.segment(clear, model=small_models["one"]), mask)


class Named(Held):
    """An array whose axes have names, as those of xarray do."""

    def __init__(self, content, dims):
        super().__init__(content)
        self.dims = dims


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        (("y", "x"), (7, 9)),
        (("x", "y"), (7, 9)),
        (("y", "x", "band"), (3, 7, 9)),
        (("band", "y", "x"), (3, 7, 9)),
        (("Y", "channel", "X"), (3, 7, 9)),
        (("time", "y", "x"), (2, 1, 7, 9)),
        (("y", "x", "c", "t", "z"), (10, 3, 7, 9)),
    ],
)
def test_named_axes_are_brought_to_their_order(dims, shape):
    sizes = {"y": 7, "x": 9, "band": 3, "channel": 3, "c": 3, "time": 2, "t": 2, "z": 5}
    pixels = np.arange(np.prod([sizes[name.lower()] for name in dims]))
    pixels = pixels.reshape([sizes[name.lower()] for name in dims])
    found = as_array(Named(pixels, dims))
    assert found.shape == shape
    names = "".join({"band": "c", "channel": "c", "time": "t"}.get(name.lower(), name.lower()) for name in dims)
    expected = np.einsum(
        f"{names}->{''.join(n for n in names if n not in 'cyx')}{'c' if 'c' in names else ''}yx", pixels
    )
    np.testing.assert_array_equal(found, expected.reshape(shape))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channels_may_be_on_any_axis_and_one_is_chosen(small_models, speckle, axis):
    planes = np.stack([np.roll(speckle[:120, :140], 9 * at) for at in range(3)])
    expected = api.segment(planes[1], model=small_models["one"])
    laid = np.moveaxis(planes, 0, axis)
    np.testing.assert_array_equal(api.segment(laid, model=small_models["one"], channel=1, channel_axis=axis), expected)
    if axis != 1:  # the rest is guessed
        np.testing.assert_array_equal(api.segment(laid, model=small_models["one"], channel=1), expected)
    stack = np.stack([laid, laid], axis=1 if axis == 0 else 0)
    pages = api.segment(stack, model=small_models["one"], channel=1, channel_axis=axis + (axis > 0))
    np.testing.assert_array_equal(pages, [expected, expected])


@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_a_short_last_axis_is_that_of_channels(last):
    pixels = np.arange(60 * 50 * last).reshape(60, 50, last)
    np.testing.assert_array_equal(as_array(pixels), np.moveaxis(pixels, 2, 0))
    masked = np.ma.array(pixels, mask=pixels % 7 == 0)
    np.testing.assert_array_equal(as_array(masked).mask, np.moveaxis(masked.mask, 2, 0))
    assert as_array(pixels[:last]).shape == (last, 50, last)
    assert as_array(pixels[None]).shape == (1, 60, 50, last)


def test_an_image_that_names_its_axes_is_believed():
    pixels = np.zeros((3, 9, 4))
    assert as_array(Named(pixels, ("c", "y", "x")), 0).shape == (3, 9, 4)
    assert as_array(Image.new("RGB", (30, 20)), -1).shape == (3, 20, 30)
    for image, axis in ((Named(pixels, ("c", "y", "x")), 2), (Named(pixels, ("z", "y", "x")), 0)):
        with pytest.raises(UsageError, match=rf"channel_axis {axis}: the image says that its axes are \w, y, x; leave"):
            as_array(image, axis)


def test_too_many_channels_are_said_with_the_shape_and_all_that_helps(small_models):
    with pytest.raises(ImageError) as caught:
        api.segment(np.zeros((50, 64, 3), np.uint8), model=small_models["one"])
    assert re.sub(r"'\w+'", "NAME", str(caught.value)) == (
        "array: 3 channels, but model NAME takes 1; it is read as (pages, C, H, W) = (1, 3, 50, 64): choose one with "
        "`channel`, give pages as (pages, 1, H, W), or say with `channel_axis` where its channels are"
    )
    with pytest.raises(ImageError, match=r"array, \(C, H, W\) = \(3, 50, 64\): has no channel 3; it has 3"):
        api.segment(np.zeros((50, 64, 3), np.uint8), model=small_models["one"], channel=3)


@pytest.mark.parametrize("mode", ["P", "CMYK", "HSV", "LAB", "YCbCr"])
def test_a_picture_whose_numbers_are_no_grey_values_is_refused(mode):
    with pytest.raises(UsageError, match=rf"mode {mode} is neither grey nor RGB; take image.convert"):
        api.segment(Image.new(mode, (30, 20)))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ([[1, 2], [3, 4]], "an image is a NumPy array or a path, not a list"),
        (((1, 2), (3, 4)), "not a tuple"),
        (None, "not None"),
        (5, "not an int"),
        (b"slide.tif", "not a bytes"),
        ({}, "not a dict"),
        (memoryview(b"1234"), r"not a memoryview; bring it to one with numpy\.asarray"),
        (Held(TypeError("it is on the GPU; call .cpu() first")), r"does not become a NumPy array \(it is on the GPU"),
    ],
)
def test_what_is_no_image_is_said_in_one_line(image, said):
    with pytest.raises(UsageError, match=said):
        api.segment(image)


@pytest.mark.parametrize("dtype", ["complex64", "object", "datetime64[s]", "U3"])
@pytest.mark.parametrize("name", ["one", "three"])
def test_an_array_of_no_grey_values_is_refused(small_models, dtype, name):
    with pytest.raises(ImageError, match="are no grey values"):
        api.segment(np.zeros((90, 90), dtype), model=small_models[name])


@pytest.mark.parametrize("number", [np.int64, np.uint8, np.int16])
def test_numbers_of_numpy_are_numbers(small_models, speckle, tmp_path, number):
    image = speckle[:120, :140]
    expected = api.segment(image, model=small_models["one"])
    sized = api.segment(image, model=small_models["one"], tile_size=number(92), probabilities=np.bool_(False))
    np.testing.assert_array_equal(sized, expected)
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "slide.tif", image)
    api.segment(
        tmp_path / "slide.tif",
        tmp_path / "mask.tif",
        model=small_models["one"],
        tile_size=number(92),
        channel=number(0),
        level=number(0),
        resume=np.bool_(True),
        roi=np.array([4, 8, 60, 50], number),
        objects=ObjectRules(number(8), number(3), np.bool_(True)),
    )
    found = tifffile.imread(tmp_path / "mask.tif")[4:64, 8:58]
    assert (found == expected[4:64, 8:58]).mean() > 0.9  # beyond the region the image goes on
    with api.open_model(small_models["one"], tile_size=number(100), batch_size=number(1)) as model:
        assert model.limits.most == (100, 100)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tile_size": 300.0}, "tile_size: give a whole number, not the float 300.0"),
        ({"tile_size": "300"}, "tile_size: give a whole number, not the str 300"),
        ({"level": True}, "level: give a whole number, not the bool True"),
        ({"max_memory": "2GiB"}, "max_memory: give a whole number, not the str 2GiB"),
        ({"overwrite": "yes"}, "overwrite: give True or False, not the str yes"),
        ({"roi": (1, 2, 3)}, "roi: give a Region, or y, x, height and width in pixels, not a tuple"),
        ({"roi": 7}, "not an int"),
        ({"roi": (0, 0, 10.5, 10)}, "roi: give a whole number, not the float 10.5"),
        ({"roi": Region(-5, 0, 10, 10)}, "y and x are at least 0"),
        ({"roi": (0, 0, 0, 10)}, "height and width at least 1"),
        ({"objects": "cells.csv"}, "objects: give ObjectRules, not the str cells.csv"),
        ({"palette": "x"}, "palette: there are auto, index, colour, not the str x"),
        ({"timeout": -1}, "timeout: give seconds above 0, not -1"),
        ({"timeout": "a"}, "timeout: give a number, not the str a"),
        ({"nodata": True}, "nodata: give a number, not the bool True"),
        ({"max_memory": 0}, "--max-memory: give at least one byte, not 0"),
    ],
)
def test_options_of_another_type_are_said_in_one_line(wrong, said):
    with pytest.raises(UsageError, match=said):
        Options(**wrong)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda image: ObjectRules(min_size=-1), "min_size: give pixels from 0, not -1"),
        (lambda image: ObjectRules(split=2), "split: give a depth of 0 to 1 diameters, not 2"),
        (lambda image: ObjectRules(split="yes"), "split: give a number, not the str yes"),
        (lambda image: ObjectRules(fill_holes="yes"), "fill_holes: give True or False, not the str yes"),
        (lambda image: api.Outputs("m.tif", layout="foo"), "layout: there are auto, strips, tiles, not the str foo"),
        (lambda image: api.segment(image, progress=3), "progress: give a function, not an int"),
        (lambda image: api.segment_file("slide.tif", "mask.tif", progress="yes"), "progress: give a function"),
        (lambda image: api.segment_file("s.tif", api.Outputs.beside("m.tif", instances="csv")), "csv: masks are TIFF"),
        (lambda image: api.Outputs(5), "mask: give a path, not an int"),
        (lambda image: api.segment_file("a.tif", "m.tif", options={"tta": True}), "options: give Options, not a dict"),
        (lambda image: api.segment(image, tile_size="300"), "tile_size: give a whole number"),
        (lambda image: api.segment(image, model=5), "model: give a file"),
        (lambda image: api.segment(image, model=np.zeros(3)), "model: give a file.*not a NumPy array"),
        (lambda image: api.segment(image, device=0), "device: give a str, not an int"),
        (lambda image: api.segment(image, "mask.tif"), r"segment\(array\): output: is for image files"),
        (lambda image: api.segment(image, level=1, max_memory=9), "level, max_memory: is for image files"),
        (
            lambda image: api.segment("a.tif", "m.tif", channel_axis=2),
            r"segment\(file\): channel_axis: is for arrays",
        ),
        (lambda image: api.segment(image, channel=1.0), "channel: give a whole number, not the float"),
        (lambda image: api.segment(image, channel_axis="last"), "channel_axis: give a whole number"),
        (lambda image: api.segment(image, channel_axis=-1), r"channel_axis -1: the array has shape \(\d+, \d+\); give"),
        (lambda image: api.segment(image[None], channel_axis=3), "channel_axis 3: the array has shape"),
        (lambda image: api.segment_file(image, "mask.tif"), "image: give a path, not a NumPy array"),
        (lambda image: api.segment_file("slide.tif", image), "output: give a path, not a NumPy array"),
        (lambda image: api.segment_file(b"slide.tif", "mask.tif"), "image: give a path, not a bytes"),
        (lambda image: api.segment("slide.tif", 5), "output: give a path, not an int"),
        (lambda image: api.open_model(5), "model: give a path, not an int"),
        (lambda image: api.open_model(batch_size="2"), "batch_size: give a whole number"),
        (lambda image: api.open_model(precision=16), "there are auto, fp32"),
        (lambda image: api.open_model(pixels="int7"), "there are uint8, uint16, float32"),
        (lambda image: ObjectRules(connectivity=6), "there are 4 and 8"),
        (lambda image: ObjectRules(min_part=0.3).decided_by(UNDECIDED), "--min-part 0.3: nothing is parted here"),
    ],
)
def test_arguments_of_another_type_are_said_in_one_line(call, said):
    with pytest.raises(UsageError, match=said) as caught:
        call(np.zeros((90, 90), np.uint8))
    assert "\n" not in str(caught.value)


def test_at_which_scale_may_be_said_by_numbers_or_as_a_whole(speckle, small_models):
    image, model = speckle[:120, :150], small_models["one"]
    by_number = api.segment(image, model=model, scale=0.5)
    np.testing.assert_array_equal(api.segment(image, model=model, scaling=api.Scaling(scale=0.5)), by_number)
    assert (api.segment(image, model=model) != by_number).any()
    with pytest.raises(UsageError, match="give one"):
        api.segment(image, model=model, scale=0.5, scaling=api.Scaling(scale=0.5))
    with pytest.raises(UsageError, match="scaling: give a Scaling, not the float"):
        api.segment(image, model=model, scaling=0.5)
