"""A coarser level of an image in place of a finer one: what is read is coarse, where it lies is said in fine pixels."""

from __future__ import annotations

import numpy as np

from unet_deploy.errors import ImageError
from unet_deploy.images import ImageSource
from unet_deploy.images.sizes import step_between
from unet_deploy.tiling import Region, mirror


class Enlarged(ImageSource):
    """An image of which a coarser level is read: each of its pixels stands for all that it covers.

    With a step of 2, a row of 7 pixels whose level has 3, the last of which the writer dropped, or 4:

        fine     0 1 2 3 4 5 6        0 1 2 3 4 5 6
        coarse   0 0 1 1 2 2 2        0 0 1 1 2 2 3

    So it lies where the image does, whatever part of it is read.
    fine: the image, which is left open. stored: the level, which is closed with this. step: fine pixels to one of its.
    """

    def __init__(self, fine: ImageSource, stored: ImageSource, step: int) -> None:
        self.fine, self.step = fine, step
        self._stored = stored
        self.info = fine.info
        self.cache_bytes = stored.cache_bytes

    @classmethod
    def of(cls, fine: ImageSource, level: int) -> Enlarged:
        """An image of which this level is read. Raises ImageError where that cannot be."""
        stored = fine.reopened(level)
        step = step_between(fine.info.region.sides, stored.info.region.sides)
        if step is None:
            stored.close()
            raise ImageError(f"{fine.info.name}: level {level} is no whole number of times as coarse")
        return cls(fine, stored, step)

    @property
    def stored(self) -> ImageSource:
        return self._stored

    def crop(self, page: int, region: Region) -> np.ndarray:
        return self._pixels(page, np.arange(region.y, region.bottom), np.arange(region.x, region.right))

    def read(self, page: int, region: Region) -> np.ndarray:
        rows = mirror(region.y, region.bottom, self.info.height)
        return self._pixels(page, rows, mirror(region.x, region.right, self.info.width))

    def state(self) -> str:
        return f"{self.fine.state()} {self._stored.state()}"

    def close(self) -> None:
        self._stored.close()

    def _pixels(self, page: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Fine pixels (C, h, w) by the numbers of their rows and columns. Raises ImageError."""
        height, width = self._stored.info.region.sides
        rows, columns = np.minimum(rows // self.step, height - 1), np.minimum(columns // self.step, width - 1)
        top, left = int(rows.min()), int(columns.min())
        part = Region(top, left, int(rows.max()) + 1 - top, int(columns.max()) + 1 - left)
        try:
            pixels = self._stored.crop(page, part)
        except ImageError as error:
            raise ImageError(f"{error} (level {self._stored.info.place.level}, which is read at this scale)") from error
        return pixels[:, :, columns - left][:, rows - top]
