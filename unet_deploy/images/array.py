"""Arrays in memory as images, for the Python API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_deploy.errors import ImageError, UsageError, reason
from unet_deploy.images import ImageInfo, ImageSource, check_channel
from unet_deploy.images.axes import image_order, known_axes
from unet_deploy.system.arguments import kind_of, settle, whole_or_none
from unet_deploy.tiling import Region

_PICTURE_MODES = {"1": 1, "L": 1, "I": 1, "I;16": 1, "I;16L": 1, "I;16B": 1, "I;16N": 1, "F": 1, "LA": 1}
_PICTURE_MODES |= {"RGB": 3, "RGBA": 3}
"""Channels of Pillow's pictures, by their mode; what comes after them is alpha, which is not one."""


def as_array(image: object, channel_axis: int | None = None) -> np.ndarray:
    """Return an image of any kind that NumPy takes as an array: (H, W), (C, H, W) or (pages, C, H, W).

    It may be of Dask, Zarr, PyTorch on a CPU, Pillow and others. Pixels that are nowhere else in memory are loaded.
    Pillow's colours become channels, masked where their alpha is 0. Axes that have names, as those of xarray, are
    brought to (pages, C, H, W), without those that are not there. channel_axis: where the channels are; None for what
    the image says of its axes, or else `guessed_axis`. Raises UsageError for what is no array, and for an axis that
    is not there or is another than the image says.
    """
    pixels, known = _known_pixels(image)
    if known is None:
        axis = guessed_axis(pixels.shape) if channel_axis is None else channel_axis
        return pixels if axis is None else _channels_first(pixels, axis)
    if channel_axis is not None and ("c" not in known or channel_axis % len(known) != known.index("c")):
        names = ", ".join(known)
        raise UsageError(f"channel_axis {channel_axis}: the image says that its axes are {names}; leave it out")
    ordered, mode = _ordered(pixels, known), _picture_mode(image)
    return ordered if mode is None or ordered.ndim < 3 else _without_alpha(ordered, _PICTURE_MODES[mode])


def _known_pixels(image: object) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The pixels of an image as they lie, and the names of their axes where it says them. Raises UsageError."""
    if isinstance(image, np.ma.MaskedArray) or type(image) is np.ndarray:
        return image, None
    if not any(hasattr(image, name) for name in ("__array__", "__array_interface__", "__array_struct__")):
        raise UsageError(
            f"image: an image is a NumPy array or a path, not {kind_of(image)}; bring it to one with numpy.asarray"
        )
    mode = _picture_mode(image)
    try:
        pixels = np.asarray(image)
    except MemoryError:
        raise
    except Exception as error:  # of whatever library it is
        raise UsageError(f"image: {kind_of(image)} does not become a NumPy array ({reason(error)})") from error
    if mode is not None:
        return pixels, ("y", "x", "c")[: pixels.ndim]
    axes = known_axes(getattr(image, "dims", None))
    return pixels, axes if axes and len(axes) == pixels.ndim else None


def guessed_axis(shape: Sequence[int]) -> int | None:
    """Return where the channels of an array are that does not say it; None for first, or after the pages.

    They are last in three dimensions whose last is 1 to 4 and whose first is larger: a picture as most libraries load
    it, and never an image of hundreds of channels, each a few pixels wide.

    >>> guessed_axis((512, 640, 3)), guessed_axis((3, 512, 640)), guessed_axis((9, 512, 640, 3))
    (2, None, None)
    """
    return 2 if len(shape) == 3 and 1 <= shape[2] <= 4 and shape[0] > shape[2] else None


def _channels_first(pixels: np.ndarray, axis: int) -> np.ndarray:
    """An array with its channels before rows and columns. Raises UsageError where there is no such axis."""
    if pixels.ndim not in (3, 4) or not -pixels.ndim <= axis < pixels.ndim:
        raise UsageError(
            f"channel_axis {axis}: the array has shape {pixels.shape}; give an axis of three, or of four whose first "
            "other is pages"
        )
    return np.moveaxis(pixels, axis, -3)


@dataclass(frozen=True)
class Channels:
    """Where the channels of an array are, and which of them is wanted. Raises UsageError for what is no number."""

    channel: int | None = None
    """Which of several, from 0; None for all."""
    axis: int | None = None
    """See `as_array`."""

    def __post_init__(self) -> None:
        settle(self, channel=whole_or_none, axis=lambda value, _: whole_or_none(value, "channel_axis"))

    def of(self, image: object) -> np.ndarray:
        """Return an image of any kind as `as_array` does, with the wanted channel. Raises ImageError for no such."""
        pixels = as_array(image, self.axis)
        has_channels = pixels.ndim > 2
        name = f"array, (C, H, W) = {pixels.shape[-3:]}" if has_channels else f"array, (H, W) = {pixels.shape}"
        check_channel(self.channel, pixels.shape[-3] if has_channels else 1, name)
        if self.channel is None or not has_channels:
            return pixels
        return pixels[..., self.channel : self.channel + 1, :, :]


ALL_CHANNELS = Channels()


def _without_alpha(samples: np.ndarray, channels: int) -> np.ndarray:
    """The channels of samples (S, H, W), masked where the alpha after them is 0."""
    colours = samples[:channels]
    if len(samples) == channels or samples[channels].all():
        return colours
    return np.ma.array(colours, mask=np.broadcast_to(samples[channels] == 0, colours.shape))


def _ordered(pixels: np.ndarray, axes: tuple[str, ...]) -> np.ndarray:
    """Pixels whose axes are named as (H, W), (C, H, W), or (pages, C, H, W) where there are other axes."""
    ordered = pixels.transpose(image_order(axes))
    pages = len(axes) - (3 if "c" in axes else 2)
    if not pages:
        return ordered
    channels, sides = (ordered.shape[pages] if "c" in axes else 1), ordered.shape[-2:]
    return ordered.reshape(-1, channels, *sides)


def _picture_mode(image: Any) -> str | None:
    """The mode of a picture of Pillow's, None for anything else. Raises UsageError where it is no grey values."""
    if not type(image).__module__.startswith("PIL."):
        return None
    mode = str(image.mode)
    if mode not in _PICTURE_MODES:
        raise UsageError(f'image: a picture of mode {mode} is neither grey nor RGB; take image.convert("RGB") or ("L")')
    return mode


class ArraySource(ImageSource):
    """An image that is an array of shape (H, W), (C, H, W) or (pages, C, H, W).

    nodata: the value of pixels that are no data. valid: bool (H, W) or (pages, H, W), which pixels are there; None for
    all, or for those that a masked array does not mask in any channel. Raises ImageError for any other shape.
    """

    def __init__(
        self,
        array: np.ndarray,
        *,
        name: str = "array",
        nodata: float | None = None,
        valid: np.ndarray | None = None,
    ) -> None:
        if not 2 <= array.ndim <= 4 or 0 in array.shape:
            raise ImageError(
                f"{name}: shape {array.shape}; an image is (H, W), (C, H, W) or (pages, C, H, W), none of them 0"
            )
        if valid is None and isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
            masked = np.ma.getmaskarray(array)
            valid = ~np.asarray(masked if array.ndim == 2 else masked.any(axis=-3))
        self._pages = np.ma.getdata(array).reshape((1,) * (4 - array.ndim) + array.shape)
        pages, channels, height, width = self._pages.shape
        self._valid = None if valid is None else valid.reshape(pages, height, width)
        self.info = ImageInfo(name, pages, channels, height, width, array.dtype, nodata=nodata)

    def crop(self, page: int, region: Region) -> np.ndarray:
        return self._pages[(page, slice(None), *region.slices)]

    def crop_valid(self, page: int, region: Region) -> np.ndarray | None:
        return None if self._valid is None else self._valid[(page, *region.slices)]

    def close(self) -> None:
        pass
