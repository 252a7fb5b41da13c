"""Grey scales are exact percentiles of the whole page, whatever the pixels are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unet_deploy.errors import ImageError
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import measure_grey, measure_page, to_float32
from unet_deploy.model.card import Normalization
from unet_deploy.tiling import Region

DTYPES = [bool, np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float16, np.float32, np.float64]


def finite(dtype):
    """Values of a dtype that are finite as float32."""
    if np.dtype(dtype).kind != "f":
        return hnp.from_dtype(np.dtype(dtype))
    return hnp.from_dtype(np.dtype(dtype), min_value=-6e4, max_value=6e4)


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            st.tuples(st.integers(1, 2), st.integers(1, 30), st.integers(1, 30)),
            elements=finite(dtype),
        )
    ),
    st.floats(0, 30),
    st.floats(70, 100),
)
def test_percentiles_are_numpys(pixels, low, high):
    grey = measure_page(ArraySource(pixels), 0, Normalization(low=low, high=high))
    values = pixels.reshape(len(pixels), -1).astype(np.float32).astype(np.float64)
    lows, highs = (np.percentile(values, percent, axis=1, method="inverted_cdf") for percent in (low, high))
    flat = highs <= lows
    lows, highs = np.where(flat, values.min(axis=1), lows), np.where(flat, values.max(axis=1), highs)
    np.testing.assert_array_equal(grey.offset, lows.astype(np.float32))
    spread = highs > lows
    np.testing.assert_allclose(grey.scale[spread], (1 / (highs - lows)[spread]).astype(np.float32), rtol=1e-6)
    assert (grey.scale[~spread] == 0).all()


@settings(max_examples=20)
@given(st.integers(1, 7))
def test_the_grey_scale_does_not_depend_on_how_the_page_is_cut(pieces):
    pixels = np.random.default_rng(5).normal(1000, 300, (1, 64, 64)).astype(np.float32)
    whole = measure_grey(lambda: [pixels], 1, Normalization(), name="whole")
    cut = measure_grey(lambda: np.array_split(pixels, pieces, axis=1), 1, Normalization(), name="cut")
    assert whole.offset == cut.offset
    assert whole.scale == cut.scale


def test_the_grey_scale_of_a_region_is_that_of_its_pixels(monkeypatch):
    pixels = np.random.default_rng(5).integers(0, 60_000, (2, 90, 70), dtype=np.uint16)
    region = Region(13, 21, 60, 40)
    monkeypatch.setattr("unet_deploy.images.grey._BAND_PIXELS", 700)
    found = measure_page(ArraySource(pixels), 0, Normalization(), region)
    alone = measure_page(ArraySource(pixels[(slice(None), *region.slices)]), 0, Normalization())
    np.testing.assert_array_equal((found.offset, found.scale), (alone.offset, alone.scale))


def test_a_sparse_slide_keeps_its_few_bright_pixels():
    page = np.zeros((1, 1000, 1000), np.uint8)
    page[0, 500, 500:520] = 200
    grey = measure_page(ArraySource(page), 0, Normalization())
    assert (page.max() - grey.offset[0]) * grey.scale[0] == pytest.approx(1)


def test_a_fixed_scale_reads_no_pixel():
    grey = measure_grey(lambda: pytest.fail("read"), 2, Normalization("fixed", offset=3, scale=0.5), name="unread")
    np.testing.assert_array_equal(grey.offset, [3, 3])
    np.testing.assert_array_equal(grey.scale, [0.5, 0.5])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_refused(bad):
    page = np.ones((1, 20, 20), np.float32)
    page[0, 3, 4] = bad
    with pytest.raises(ImageError, match=r"scan\.tif: has pixels that are NaN"):
        measure_page(ArraySource(page, name="scan.tif"), 0, Normalization())


def test_doubles_beyond_float32_are_refused_rather_than_made_infinite():
    with pytest.raises(ImageError, match="beyond float32"):
        to_float32(np.array([1e300]), "scan.tif")


def test_complex_pixels_are_refused():
    with pytest.raises(ImageError, match="complex64 are no grey values"):
        measure_page(ArraySource(np.ones((4, 4), np.complex64)), 0, Normalization())


def pixels_of(dtype, brightest):
    pixels = np.zeros((1, 20, 30), dtype)
    pixels[0, 8:12, 12:18] = brightest
    return ArraySource(pixels, name="cells.tif")


@pytest.mark.parametrize(
    ("dtype", "brightest", "white"),
    [
        (np.uint16, 900, 255),
        (np.int16, 900, 255),
        (bool, True, 255),
        (np.uint8, 200, 65535),
        (np.float32, 1, 255),
        (np.float32, 60000, 255),
        (np.float64, 5000, 100),
    ],
)
def test_an_image_of_another_range_than_a_fixed_scale_is_refused(dtype, brightest, white):
    with pytest.raises(ImageError, match=rf"^cells.tif: has .* takes 0 to {white} as 0 to 1; bring the image to"):
        measure_page(pixels_of(dtype, brightest), 0, Normalization("fixed", scale=1 / white))


@pytest.mark.parametrize(
    ("dtype", "brightest", "white"),
    [
        (np.uint8, 3, 255),
        (np.uint16, 900, 65535),
        (np.uint16, 4095, 4095),
        (np.float32, 0, 255),
        (np.float32, 3, 255),
        (np.float32, 0.7, 1),
        (np.float32, 240, 255),
        (np.float32, np.nan, 255),
    ],
)
def test_an_image_of_the_range_of_a_fixed_scale_is_taken(dtype, brightest, white):
    grey = measure_page(pixels_of(dtype, brightest), 0, Normalization("fixed", scale=1 / white))
    assert grey.scale == np.float32(1 / white)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_scale_of_1_hands_on_grey_values_as_they_are(dtype):
    assert measure_page(pixels_of(dtype, 200), 0, Normalization("fixed", scale=1)).scale == 1


def test_standardised_grey_values_are_taken_whatever_their_range():
    assert measure_page(pixels_of(np.int16, 900), 0, Normalization("fixed", 128, 1 / 64)).offset == 128
