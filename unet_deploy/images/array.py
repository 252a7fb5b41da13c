"""Arrays in memory as images, for the Python API."""

from __future__ import annotations

import numpy as np

from unet_deploy.errors import ImageError
from unet_deploy.images import ImageInfo, ImageSource
from unet_deploy.tiling import Region


class ArraySource(ImageSource):
    """An image that is an array of shape (H, W), (C, H, W) or (pages, C, H, W). Raises ImageError for any other."""

    def __init__(self, array: np.ndarray, *, name: str = "array", nodata: float | None = None) -> None:
        if not 2 <= array.ndim <= 4 or 0 in array.shape:
            raise ImageError(
                f"{name}: shape {array.shape}; an image is (H, W), (C, H, W) or (pages, C, H, W), none of them 0"
            )
        self._pages = array.reshape((1,) * (4 - array.ndim) + array.shape)
        pages, channels, height, width = self._pages.shape
        self.info = ImageInfo(name, pages, channels, height, width, array.dtype, nodata=nodata)

    def crop(self, page: int, region: Region) -> np.ndarray:
        return self._pages[(page, slice(None), *region.slices)]

    def close(self) -> None:
        pass
