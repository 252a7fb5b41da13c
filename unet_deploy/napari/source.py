"""A layer of napari as an image that is segmented, whoever opened it: its pixels at full size, as it shows them."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from unet_deploy.images import ImageInfo, ImageSource
from unet_deploy.napari.lazy import LazyArray
from unet_deploy.napari.placed import page_axes_of, sizes_said_by
from unet_deploy.tiling import Region


class Cancelled(Exception):
    """The user does not want the answer any more."""


class LayerSource(ImageSource):
    """An image layer as an image; axes before rows and columns are pages. What it reads ends when it is cancelled."""

    def __init__(self, layer: Any) -> None:
        self.cancelled = threading.Event()
        self._data = layer.data[0] if layer.multiscale else layer.data
        self._is_picture = bool(layer.rgb)
        *lead, height, width = self._data.shape[:-1] if self._is_picture else self._data.shape
        self.lead = tuple(lead)
        self.info = ImageInfo(
            layer.name,
            math.prod(lead),
            3 if self._is_picture else 1,
            height,
            width,
            np.dtype(self._data.dtype),
            sizes_said_by(layer),
            page_axes_of(layer, self.lead),
        )

    def crop(self, page: int, region: Region) -> np.ndarray:
        if self.cancelled.is_set():
            raise Cancelled
        at = tuple(map(int, np.unravel_index(page, self.lead))) if self.lead else ()
        pixels = np.asarray(self._data[(*at, *region.slices)])
        return np.moveaxis(pixels[..., :3], -1, 0) if self._is_picture else pixels[None]

    def crop_valid(self, page: int, region: Region) -> np.ndarray | None:
        return self._data.read(page, region).there if isinstance(self._data, LazyArray) else None

    def close(self) -> None:
        pass
