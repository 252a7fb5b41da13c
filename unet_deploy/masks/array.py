"""Arrays in memory as masks, for the Python API."""

from __future__ import annotations

import numpy as np

from unet_deploy.masks import MaskSink
from unet_deploy.tiling import Region


class ArraySink(MaskSink):
    """Collects into `array`, (pages, planes, H, W); never resumed."""

    resumed = False

    def __init__(self, shape: tuple[int, int, int, int], dtype: np.dtype) -> None:
        self.array = np.zeros(shape, dtype)

    def write(self, page: int, region: Region, planes: np.ndarray) -> None:
        self.array[(page, slice(None), *region.slices)] = planes

    def has(self, page: int, region: Region) -> bool:
        return False

    def read(self, page: int, region: Region) -> np.ndarray:
        return self.array[(page, slice(None), *region.slices)]

    def commit(self) -> None:
        pass

    def close(self) -> None:
        pass
