"""Grey values to network input, by statistics of the whole page and never of a tile.

Percentiles are exact, and no page is held in memory for them. Pixels become integers of the same order, whose upper
and lower 16 bits are counted in turn (a radix selection): the first pass finds the bin of the upper bits that a
percentile falls into, the second finds it among the pixels of that bin. One pass settles 8- and 16-bit images, two
passes all others. With 2 + 2 bits instead of 16 + 16, the median of eight pixels:

    pixels                     0001 0110 0111 0111 1000 1011 1100 1111
    first pass, upper bits     00: 1     01: 3     10: 2     11: 2
                               the 4th smallest is the 3rd of those in 01
    second pass, lower bits    of 01     10: 1     11: 2
                               the 3rd of them is 11
    median                     0111
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from unet_deploy.errors import ImageError
from unet_deploy.images import ImageSource
from unet_deploy.model.card import Normalization
from unet_deploy.tiling import Region

Blocks = Callable[[], Iterable[np.ndarray]]
_BAND_PIXELS, _AT_ONCE = 1 << 22, 1 << 18
"""Pixels that are read at once, and that are counted."""

_BINS = 1 << 16


@dataclass(frozen=True)
class GreyScale:
    """What makes network input of grey values: (grey - offset) * scale."""

    offset: np.ndarray
    """(C,) float32, one for each channel; so is `scale`."""
    scale: np.ndarray


def check_dtype(dtype: np.dtype, name: str) -> None:
    """Raise ImageError unless pixels of this dtype are grey values."""
    if dtype.kind not in "buif":
        raise ImageError(f"{name}: pixels of type {dtype} are no grey values; convert it to integer or float pixels")


def to_float32(pixels: np.ndarray, name: str) -> np.ndarray:
    """Return grey values as float32. Raises ImageError on NaN and infinity, which would spread over a whole tile."""
    if pixels.dtype.kind != "f":
        return pixels.astype(np.float32)
    with np.errstate(over="ignore"):
        values = pixels.astype(np.float32)
    if not np.isfinite(values).all():
        raise ImageError(
            f"{name}: has pixels that are NaN, infinite or beyond float32; replace them, or say that they hold no "
            "data: --nodata nan, or a masked array"
        )
    return values


def read_tile(source: ImageSource, page: int, region: Region, grey: GreyScale) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the pixels (C, h, w) of a region that may hang over the image, and where they hold data, bool (h, w).

    Those that hold none are made what is 0 for the network; None says that all hold data.
    """
    pixels = source.read(page, region)
    data = source.data_in(page, region, pixels)
    if data is None or data.all():
        return pixels, None
    nothing = grey.offset if pixels.dtype.kind == "f" else np.rint(grey.offset)
    return np.where(data, pixels, nothing[:, None, None].astype(pixels.dtype)), data


UNIFORM = 0.1
"""Span of grey values, as a share of the page's, below which a tile has nothing in it: glass and its noise."""


def is_uniform(pixels: np.ndarray, grey: GreyScale) -> bool:
    """Whether (C, h, w) grey values, halo included, lie so close together that only background can be there."""
    spans = pixels.max(axis=(1, 2)).astype(np.float64) - pixels.min(axis=(1, 2)).astype(np.float64)
    return bool((spans * grey.scale < UNIFORM).all())


def measure_page(
    source: ImageSource,
    page: int,
    normalization: Normalization,
    region: Region | None = None,
    check: Callable[[], None] = lambda: None,
) -> GreyScale:
    """Measure the grey scale of one page, or of a region of it, by the pixels that hold data.

    Reads it once or twice for percentiles, and nearly nothing for a fixed scale. Of a page of which a coarser level is
    read, that level's pixels count. check: called before each part that is read; what it raises ends the measurement.
    Raises ImageError where pixels are no grey values, or not those that a fixed scale is for.
    """
    source = source if region else source.stored
    info = source.info
    check_dtype(info.dtype, info.name)
    part = region or info.region
    if normalization.method == "fixed" and normalization.offset == 0 and 0 < normalization.scale < 1:
        _check_range(source, page, part, 1 / normalization.scale)
    rows = max(1, min(part.height, _BAND_PIXELS // (part.width * info.channels)))

    def bands() -> Iterable[np.ndarray]:
        for y in range(part.y, part.bottom, rows):
            check()
            band = Region(y, part.x, min(rows, part.bottom - y), part.width)
            pixels = source.crop(page, band)
            data = source.data_in(page, band, pixels)
            yield pixels if data is None else pixels[:, data]

    return measure_grey(bands, info.channels, normalization, name=info.name)


_APART = 20
"""How many times the white of a fixed scale and an image's may be apart: 12 bits pass for 16, and 8 do not."""


def _check_range(source: ImageSource, page: int, part: Region, white: float) -> None:
    """Raise ImageError where an image has another range of grey values than the one that a fixed scale makes 0 to 1.

    Of integers the type tells. Of floats the middle of the part does: its values may end anywhere, but an image of
    0 to 1 is no image of 0 to 255.
    """
    info = source.info
    if info.dtype.kind == "f":
        brightest = _brightest(source, page, part)
        found, ends = f"grey values up to {brightest:.3g}", 1.0 if 0 < brightest <= 1 else max(brightest, white)
    else:
        found, ends = f"pixels of type {info.dtype}", 1.0 if info.dtype.kind == "b" else float(np.iinfo(info.dtype).max)
    if not white / _APART <= ends <= white * _APART:
        raise ImageError(
            f"{info.name}: has {found}, but the model takes 0 to {white:.5g} as 0 to 1; bring the image to that range, "
            "or adopt the network again with another --scale or --normalization percentile"
        )


def _brightest(source: ImageSource, page: int, part: Region) -> float:
    """The largest grey value in the middle of a part, of those that are numbers and hold data; 0 where none is."""
    side = min(512, part.height, part.width)
    middle = Region(part.y + (part.height - side) // 2, part.x + (part.width - side) // 2, side, side)
    pixels = source.crop(page, middle)
    data = source.data_in(page, middle, pixels)
    values = pixels.ravel() if data is None else pixels[:, data].ravel()
    return float(np.max(values[np.isfinite(values)], initial=0))


def measure_grey(blocks: Blocks, channels: int, normalization: Normalization, *, name: str) -> GreyScale:
    """Measure the grey scale of a page that `blocks()` yields as (C, ...) arrays, the same each time it is called.

    A constant channel becomes 0 everywhere. Raises ImageError on NaN and infinite pixels.
    """
    if normalization.method == "fixed":
        return GreyScale(
            np.full(channels, normalization.offset, np.float32), np.full(channels, normalization.scale, np.float32)
        )
    low, high, darkest, brightest = _quantiles(blocks, channels, (normalization.low, normalization.high, 0, 100), name)
    flat = high <= low  # nearly all pixels are alike, as on a sparse slide: the full range still shows the rest
    low, high = np.where(flat, darkest, low), np.where(flat, brightest, high)
    span = high - low
    scale = np.where(span > 0, 1 / np.where(span > 0, span, 1), 0)
    return GreyScale(low.astype(np.float32), scale.astype(np.float32))


def _quantiles(blocks: Blocks, channels: int, percents: tuple[float, ...], name: str) -> np.ndarray:
    """Return exact percentiles, (len(percents), C) float64: the smallest value that so many percent do not exceed."""
    counts: np.ndarray = np.zeros((channels, 1), np.int64)
    narrow: int | None = None
    for block in blocks():
        narrow = _narrow_offset(block.dtype)
        bins = _BINS if narrow is None else 1 << 8 * block.dtype.itemsize
        counts = counts + [_counts(pixels, narrow, bins, name) for pixels in block]
    if not counts.any():  # a page without data
        return np.zeros((len(percents), channels))
    ranks = np.maximum(1, np.ceil(np.asarray(percents)[:, None] / 100 * counts.sum(axis=1))).astype(np.int64)
    cumulated = counts.cumsum(axis=1)
    upper = np.array([[np.searchsorted(cumulated[c], r) for c, r in enumerate(row)] for row in ranks])
    if narrow is not None:
        return upper.astype(np.float64) - narrow

    below = np.array([[cumulated[c, u] - counts[c, u] for c, u in enumerate(row)] for row in upper])
    lower = np.zeros((*upper.shape, _BINS), np.int64)
    for block in blocks():
        for channel, pixels in enumerate(block):
            keys = _keys(pixels, name)
            for row, bin_ in enumerate(upper[:, channel]):
                chosen = keys[keys >> 16 == bin_] & 0xFFFF
                lower[row, channel] += np.bincount(chosen, minlength=_BINS)
    within = (lower.cumsum(axis=2) < (ranks - below)[:, :, None]).sum(axis=2)
    return _values(upper.astype(np.uint32) << 16 | within.astype(np.uint32)).astype(np.float64)


def _counts(pixels: np.ndarray, narrow: int | None, bins: int, name: str) -> np.ndarray:
    """How many pixels there are in each bin, (bins,) int64."""
    flat, counts = pixels.reshape(-1), np.zeros(bins, np.int64)
    for at in range(0, flat.size, _AT_ONCE):  # NumPy makes int64 of what it counts, which is to stay in a cache
        counts += np.bincount(_upper(flat[at : at + _AT_ONCE], narrow, name), minlength=bins)
    return counts


def _narrow_offset(dtype: np.dtype) -> int | None:
    """Return what makes a bin number of a value of at most 16 bits; None for wider pixels."""
    if dtype.kind == "f" or dtype.itemsize > 2:
        return None
    return 1 << 8 * dtype.itemsize - 1 if dtype.kind == "i" else 0


def _upper(pixels: np.ndarray, narrow: int | None, name: str) -> np.ndarray:
    """Return the bin of each pixel by its upper 16 bits, or by all it has where these are no more."""
    if narrow is None:
        return _keys(pixels, name) >> 16
    return pixels.astype(np.intp) + narrow if narrow else pixels


def _keys(pixels: np.ndarray, name: str) -> np.ndarray:
    """Return pixels as uint32 that have the order of their float32 values, which are stored as sign and magnitude.

    >>> bool((np.diff(_keys(np.array([-2.0, -1.0, 0.0, 1.5]), "four").astype(np.int64)) > 0).all())
    True
    """
    bits = (to_float32(pixels, name).reshape(-1) + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31 != 0, ~bits, bits | np.uint32(1 << 31))


def _values(keys: np.ndarray) -> np.ndarray:
    """Return the float32 values that `_keys` made these keys of."""
    return np.where(keys >> 31 != 0, keys & np.uint32(0x7FFFFFFF), ~keys).astype(np.uint32).view(np.float32)
