"""What came out of an image: the pixels of each class, and the objects as their table has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from typing_extensions import Self

from unet_deploy.objects.table import ObjectTable
from unet_deploy.reporting.survey import Survey

_AT_A_TIME = 1 << 14
"""Objects whose columns are made together: the text among them takes much memory."""


@dataclass(frozen=True)
class Spread:
    """How the numbers of objects are spread: of those that are finite."""

    count: int
    mean: float
    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float

    @classmethod
    def of(cls, values: np.ndarray) -> Self | None:
        """That of (n,) numbers; None where none is finite.

        >>> Spread.of(np.array([1.0, 2.0, 6.0])).mean
        3.0
        """
        finite = values[np.isfinite(values)]
        if not len(finite):
            return None
        return cls(len(finite), float(finite.mean()), *np.percentile(finite, (0, 25, 50, 75, 100)).tolist())


@dataclass(frozen=True)
class Found:
    """What came out of an image, all pages together."""

    classes: tuple[str, ...]
    """Background first."""
    pixels: tuple[int, ...]
    """Of each class."""
    without_data: int
    """Pixels."""
    labels: np.ndarray
    """(n,) uint8, the class of each object."""
    columns: dict[str, np.ndarray]
    """Numbers of objects, (n,) each, by the names of their columns in the table: area and mean intensities."""

    @classmethod
    def of(cls, survey: Survey, tables: Sequence[ObjectTable]) -> Self:
        """What was seen of an image, and the objects of each of its pages."""
        (classes,) = {table.classes for table in tables}
        blocks = [_numbers(table, start) for table in tables for start in range(0, max(1, len(table)), _AT_A_TIME)]
        columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
        return cls(classes, tuple(survey.pixels.tolist()), survey.without_data, columns.pop("class"), columns)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each class, of the pixels that hold data."""
        return tuple(count / max(1, sum(self.pixels)) for count in self.pixels)

    @property
    def foreground(self) -> float:
        """The share of all classes but the background."""
        return sum(self.shares[1:])

    @property
    def area(self) -> str:
        """The column of areas: in square micrometres where they are known, else in pixels."""
        return "area_um2" if "area_um2" in self.columns else "area_px"

    @property
    def intensities(self) -> list[str]:
        """The columns of mean intensities, one a channel."""
        return [name for name in self.columns if name.startswith("mean_intensity")]

    def objects(self, label: int) -> int:
        """How many objects are of a class."""
        return int(np.count_nonzero(self.labels == label))


def _numbers(table: ObjectTable, start: int) -> dict[str, np.ndarray]:
    columns = table.columns(slice(start, start + _AT_A_TIME))
    wanted = ("class", "area_px", "area_um2")
    return {name: values for name, values in columns.items() if name in wanted or name.startswith("mean_intensity")}
