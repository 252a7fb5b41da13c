"""Colours on the screen are those that the numbers of a file stand for."""

import doctest
import warnings

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.errors import UsageError
from unet_deploy.images import open_image
from unet_deploy.system.colours import class_colour
from unet_deploy.viewing import contrast, paint
from unet_deploy.viewing.contrast import Shade, measured_shades
from unet_deploy.viewing.layer import GreyLayer
from unet_deploy.viewing.paint import class_colours, object_colours, painted, png, shaded
from unet_deploy.viewing.pixels import Pixels


def shades_of(path, page=0):
    with GreyLayer(lambda: open_image(path)) as layer:
        return measured_shades(layer, page)


@pytest.mark.parametrize("module", [contrast, paint], ids=lambda module: module.__name__)
def test_examples_are_true(module):
    assert doctest.testmod(module).failed == 0


# -- contrast --------------------------------------------------------------------------------------------------------


def test_grey_is_shown_between_the_percentiles_of_the_overlay(tmp_path):
    ramp = np.arange(100_000, dtype=np.uint16)[: 250 * 256].reshape(250, 256)
    tifffile.imwrite(tmp_path / "a.tif", ramp)
    (shade,) = shades_of(tmp_path / "a.tif")
    assert shade.low == pytest.approx(0.005 * ramp.size, abs=2)
    assert shade.high == pytest.approx(0.997 * ramp.size, abs=2)


def test_a_large_page_is_judged_by_squares_all_over_it(tmp_path):
    image = np.zeros((3000, 3000), np.uint8)
    image[1500:] = 200
    tifffile.imwrite(tmp_path / "a.tif", image)
    (shade,) = shades_of(tmp_path / "a.tif")
    assert (shade.low, shade.high) == (0, pytest.approx(200))


def test_channels_have_each_their_own_contrast_and_colour(tmp_path):
    random = np.random.default_rng(0)
    planes = np.stack([random.integers(0, most, (80, 80)) for most in (100, 4000)]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", planes, metadata={"axes": "CYX"}, photometric="minisblack")
    first, second = shades_of(tmp_path / "a.ome.tif")
    assert (first.channel, second.channel) == (0, 1)
    assert first.high < 100
    assert second.high > 3900
    assert first.colour != second.colour


def test_a_picture_in_colour_is_shown_as_it_is(tmp_path):
    picture = np.random.default_rng(0).integers(50, 90, (40, 30, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb")
    shades = shades_of(tmp_path / "a.tif")
    np.testing.assert_array_equal(shaded(Pixels(np.moveaxis(picture, -1, 0)), shades), picture)


@pytest.mark.parametrize("value", [7, np.nan, np.inf])
def test_an_image_of_one_value_or_of_none_has_a_contrast_too(tmp_path, value):
    tifffile.imwrite(tmp_path / "a.tif", np.full((20, 20), value, np.float32))
    (shade,) = shades_of(tmp_path / "a.tif")
    assert shade.low < shade.high


def test_an_image_of_one_value_is_grey_and_of_nothing_black(tmp_path):
    shown = []
    for value in (7, 0):
        tifffile.imwrite(tmp_path / "a.tif", np.full((20, 20), value, np.uint16))
        shown.append(int(shaded(Pixels(np.array([[[value]]])), shades_of(tmp_path / "a.tif"))[0, 0, 0]))
    assert shown == [128, 0]


@pytest.mark.parametrize("wrong", [{"low": np.nan}, {"high": np.inf}, {"gamma": 0.0}, {"gamma": np.nan}])
def test_a_contrast_that_cannot_be_shown_is_refused(wrong):
    with pytest.raises(UsageError, match=r"^contrast .*: give finite numbers$"):
        Shade(**{"channel": 0, "low": 0.0, "high": 1.0} | wrong)


# -- pictures --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 254), st.integers(1, 255), st.floats(0.1, 5))
def test_what_is_lighter_is_never_shown_darker(low, span, gamma):
    grey = Pixels(np.arange(256, dtype=np.uint8)[None, None])
    shown = shaded(grey, [Shade(0, low, low + span, gamma=gamma)])[0, :, 0].astype(int)
    assert (np.diff(shown) >= 0).all()
    assert shown[: low + 1].max() == 0
    assert shown[low + span :].min(initial=255) == 255


def test_a_low_above_high_shows_the_negative():
    shown = shaded(Pixels(np.array([[[0, 100, 200]]], np.uint8)), [Shade(0, 200, 0)])
    assert shown[0, :, 0].tolist() == [255, 128, 0]


def test_what_is_no_number_is_black_and_what_holds_no_data_is_seen_through():
    pixels = Pixels(np.array([[[np.nan, np.inf, 1.0]]], np.float32), np.array([[True, True, False]]))
    shown = shaded(pixels, [Shade(0, 0, 1)])
    assert shown[0].tolist() == [[0, 0, 0, 255], [255, 255, 255, 255], [0, 0, 0, 0]]


def test_a_contrast_beyond_all_numbers_of_an_image_is_drawn_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = shaded(Pixels(np.full((1, 1, 1), 9, np.uint8)), [Shade(0, -1e300, 1e300)])
    assert shown.shape == (1, 1, 3)


def test_a_channel_that_there_is_not_is_refused():
    with pytest.raises(UsageError, match="there is no channel 1; there are 1, counted from 0"):
        shaded(Pixels(np.zeros((1, 2, 2))), [Shade(1, 0, 1)])


def test_classes_have_the_colours_of_all_pictures_and_background_none():
    labels = np.pad(np.arange(10, dtype=np.uint8)[None], 1)
    shown = painted(Pixels(labels[None]), class_colours(), "fill")[0]
    assert shown[0].tolist() == [0, 0, 0, 0]
    assert [tuple(colour) for colour in shown[1:, :3].tolist()] == [class_colour(label) for label in range(1, 10)]
    assert (shown[1:, 3] == 255).all()


def test_neighbouring_objects_have_other_colours():
    colours = object_colours()
    assert len(np.unique(colours, axis=0)) == len(colours) == 28
    assert (np.abs(np.diff(colours.astype(int), axis=0)).sum(axis=1) > 60).all()


def test_an_outline_is_the_border_of_each_object_and_not_of_the_image():
    labels = np.array([[1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 2]], np.uint32)
    shown = painted(Pixels(np.pad(labels, 1, mode="edge")[None]), object_colours(), "outline")
    assert (shown[..., 3] > 0).astype(int).tolist() == [[0, 0, 1, 1]] * 3


@pytest.mark.parametrize("dtype", [np.uint64, np.int32, np.bool_])
def test_labels_of_any_integers_are_drawn(dtype):
    labels = np.array([[0, 1]]).astype(dtype)
    shown = painted(Pixels(np.pad(labels, 1, mode="edge")[None]), object_colours(), "fill")
    assert shown[0, :, 3].tolist() == [0, 255]


@pytest.mark.parametrize("channels", [3, 4])
def test_a_picture_keeps_its_pixels_as_png(channels):
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, channels), dtype=np.uint8)
    np.testing.assert_array_equal(imagecodecs.png_decode(png(picture)), picture)
