"""Pixels that are no data have no part in the grey scale, and reach the network as nothing."""

import doctest

import numpy as np
import pytest
import tifffile

from unet_deploy.images import nodata, open_image
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import measure_page, read_tile
from unet_deploy.images.nodata import holds_data, parse_nodata
from unet_deploy.model.card import Normalization
from unet_deploy.tiling import Region

GREY = np.random.default_rng(1).integers(10, 200, (90, 80)).astype(np.uint8)


def test_examples_are_true():
    assert doctest.testmod(nodata).failed == 0


def tagged(path, pixels, text, **options):
    tifffile.imwrite(path, pixels, metadata=None, extratags=[(42113, "s", 0, text, True)], **options)
    return open_image(path)


def data_of(source):
    """Which pixels of the first page hold data."""
    whole = source.info.region
    return source.data_in(0, whole, source.crop(0, whole))


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        (np.uint8, 0, "0"),
        (np.uint8, 255, "255"),
        (np.int16, -9999, " -9999 "),
        (np.uint16, 65535, "65535.0"),
        (np.float32, -9999, "-9999"),
        (np.float32, np.nan, "nan"),
        (np.float32, np.finfo(np.float32).min, "-3.4028234663852886e+38"),
        (np.float64, -1.5, "-1.5"),
        (np.float32, np.float32(0.1), "0.1"),
        (np.float32, -np.inf, "-inf"),
    ],
)
@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_the_tag_is_heeded(tmp_path, dtype, value, text, tile):
    pixels = GREY.astype(dtype)
    with ArraySource(pixels[30:]) as rest:
        expected = measure_page(rest, 0, Normalization())
    pixels[:30] = value
    with tagged(tmp_path / "a.tif", pixels, text, tile=tile) as source:
        grey = measure_page(source, 0, Normalization())
        seen, data = read_tile(source, 0, Region(-5, -5, 60, 60), grey)
    np.testing.assert_array_equal([grey.offset, grey.scale], [expected.offset, expected.scale])
    assert seen.dtype == np.dtype(dtype)
    rows = np.abs(np.arange(-5, 55))
    np.testing.assert_array_equal(data, np.broadcast_to((rows >= 30)[:, None], (60, 60)))
    assert (seen[0][~data] == np.rint(grey.offset) if seen.dtype.kind != "f" else seen[0][~data] == grey.offset).all()


def test_the_tag_is_said_and_is_no_tag_of_the_mask(tmp_path):
    with tagged(tmp_path / "a.tif", GREY, "-9999") as source:
        assert not source.info.tags
        assert "pixels of -9999 are no data" in source.info.note
        assert data_of(source).all()


def test_the_tag_counts_as_numbers_are_stored(tmp_path):
    pixels = GREY.copy()
    pixels[:30] = 255
    with tagged(tmp_path / "a.tif", pixels, "255", photometric="miniswhite") as source:
        data = data_of(source)
    assert not data[:30].any()
    assert data[30:].all()


def test_a_zarr_array_says_it_by_an_attribute(tmp_path):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(str(tmp_path / "a.zarr"), data=GREY, attributes={"_FillValue": 10})
    assert array.shape == GREY.shape
    with open_image(tmp_path / "a.zarr") as source:
        assert source.info.note == "pixels of 10 are no data"
        np.testing.assert_array_equal(data_of(source), GREY != 10)


def test_the_user_goes_before_the_file(tmp_path):
    with tagged(tmp_path / "a.tif", GREY, "10") as source:
        source.asked_nodata = 11.0
        np.testing.assert_array_equal(data_of(source), GREY != 11)


@pytest.mark.parametrize(
    ("text", "value"), [("-9999", -9999.0), ("1e3\0", 1000.0), ("-1,5", -1.5), ("none", None), ("", None)]
)
def test_a_tag_that_is_no_number_is_none(text, value):
    assert parse_nodata(text) == value


def test_a_colour_is_no_data_where_all_of_it_is():
    pixels = np.array([[[0, 0, 5]], [[0, 7, 0]], [[0, 0, 0]]], np.uint8)
    assert holds_data(pixels, 0).tolist() == [[False, True, True]]
    floats = np.array([[[np.nan, 1.0]], [[2.0, 3.0]]])
    assert holds_data(floats, float("nan")).tolist() == [[False, True]]


def test_a_value_that_pixels_cannot_hold_is_nowhere():
    assert holds_data(GREY[None], -9999).all()
    assert holds_data(GREY[None], float("nan")).all()


def test_a_page_without_data_has_a_scale_all_the_same():
    with ArraySource(np.full((20, 20), np.nan, np.float32), nodata=float("nan")) as source:
        grey = measure_page(source, 0, Normalization())
        pixels, data = read_tile(source, 0, source.info.region, grey)
    assert not data.any()
    assert np.isfinite(pixels).all()
