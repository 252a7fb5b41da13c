"""Arrays in memory as images, for the Python API."""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_deploy.errors import ImageError, UsageError, reason
from unet_deploy.images import ImageInfo, ImageSource
from unet_deploy.images.axes import image_order, known_axes
from unet_deploy.system.arguments import kind_of
from unet_deploy.tiling import Region

_PICTURE_MODES = {"1": 1, "L": 1, "I": 1, "I;16": 1, "I;16L": 1, "I;16B": 1, "I;16N": 1, "F": 1, "LA": 1}
_PICTURE_MODES |= {"RGB": 3, "RGBA": 3}
"""Channels of Pillow's pictures, by their mode; what comes after them is alpha, which is not one."""


def as_array(image: object) -> np.ndarray:
    """Return an image of any kind that NumPy takes as an array: of Dask, Zarr, PyTorch on a CPU, Pillow and others.

    Pixels that are nowhere else in memory are loaded. Pillow's colours become channels, (C, H, W), masked where their
    alpha is 0. Axes that have names, as those of xarray, are brought to (pages, C, H, W), without those that are not
    there. Raises UsageError for what is no array.
    """
    if isinstance(image, np.ma.MaskedArray) or type(image) is np.ndarray:
        return image
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
    if mode is not None and pixels.ndim == 3:
        return _without_alpha(np.moveaxis(pixels, -1, 0), _PICTURE_MODES[mode])
    axes = known_axes(getattr(image, "dims", None))
    return pixels if axes is None or len(axes) != pixels.ndim else _ordered(pixels, axes)


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
