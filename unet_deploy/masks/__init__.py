"""Masks out. One file for each format family, each a sink."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from typing_extensions import Self

from unet_deploy.tiling import Region


class MaskSink(ABC):
    """A mask that is written region by region, each pixel once, in any order.

    A context manager. What was not committed when it closes is not under the file's name; a sink of a file keeps it
    for a run that goes on.
    """

    resumed: bool
    """Whether it goes on from where an earlier run ended."""

    @abstractmethod
    def write(self, page: int, region: Region, planes: np.ndarray) -> None:
        """Take (planes, h, w) for a region inside the image that covers whole blocks of the sink."""

    @abstractmethod
    def has(self, page: int, region: Region) -> bool:
        """Whether all blocks that a region touches are finished, by this run or an earlier one."""

    @abstractmethod
    def read(self, page: int, region: Region) -> np.ndarray:
        """(planes, h, w) of a region that it has."""

    @abstractmethod
    def commit(self) -> None:
        """Finish the file; only now its name exists. What a later run would go on from goes with `close`."""

    def keep(self) -> None:  # noqa: B027  (a sink that keeps nothing has nothing to do)
        """After `commit`: let a later run go on all the same, because another file of this one is not finished."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
