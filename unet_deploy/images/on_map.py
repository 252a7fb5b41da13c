"""On which map a GeoTIFF lies, and where: its reference system, its unit, and the place of each pixel.

OGC GeoTIFF 1.1: chapter 7.1 the keys, annex B.6 the transformations; GDAL and rasterio read them alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from tifffile import TiffPage

from unet_deploy.images.earth import KEYS, MATRIX, SCALE, TIE_POINTS, corner_of

WGS84 = 4326
"""The EPSG code of longitude and latitude as satellites give them, which GeoJSON takes for granted."""

_MODEL, _GEOGRAPHIC, _PROJECTED, _UNIT, _UNIT_SIZE = 1024, 2048, 3072, 3076, 3077
"""The keys that say what kind of system it is, its EPSG code as either kind, and the unit of a projected one."""
_NUMBERS = 34736
"""The tag that holds what keys say in floating point."""

_METRES: dict[float, float] = {
    9001: 1.0,
    9002: 0.3048,
    9003: 1200 / 3937,
    9014: 1.8288,
    9030: 1852.0,
    9036: 1000.0,
    9093: 1609.344,
}
"""EPSG units of length: metre, foot, US survey foot, fathom, nautical mile, kilometre, mile."""

_STRETCHED = {3395, 3785, 3857, 4087, 32662, 54004}
"""EPSG codes of maps of the whole world, Mercator's and of equal degrees, on which areas grow with latitude."""


@dataclass(frozen=True)
class OnMap:
    """Where the pixels of the finest level lie on a map.

    Places are counted in pixels from the outer corner of the first one, whatever point of a pixel the file names.

    >>> place = OnMap((500_000.0, 0.5, 0.0, 6_000_000.0, 0.0, -0.5), epsg=32633, metres=1.0)
    >>> [float(each) for each in place.at(np.array(10.0), np.array(20.0))]
    [500005.0, 5999990.0]
    >>> place.pixel_m2, place.name
    (0.25, 'EPSG:32633')
    """

    matrix: tuple[float, float, float, float, float, float]
    """x of that corner, and by how much it grows with a column and with a row; the same of y."""
    epsg: int | None = None
    """The code of its reference system; None where it has none."""
    degrees: bool = False
    """Whether it counts in degrees, or in another angle."""
    metres: float | None = None
    """The length of its unit; None where that is an angle or not known."""

    @property
    def name(self) -> str:
        """Of the reference system, for people."""
        return f"EPSG:{self.epsg}" if self.epsg else "a reference system without an EPSG code"

    @property
    def pixel_m2(self) -> float | None:
        """The area of a pixel on the map; None where the map tells none, as one in degrees."""
        if self.metres is None or self.epsg in _STRETCHED:
            return None
        _, xx, xy, _, yx, yy = self.matrix
        return abs(xx * yy - xy * yx) * self.metres**2

    @property
    def why_no_area(self) -> str:
        """Say why there is no area, for people; empty where there is one."""
        if self.pixel_m2 is not None:
            return ""
        if self.degrees:
            return "it counts in degrees"
        return "it stretches areas" if self.epsg in _STRETCHED else "its unit of length is not known"

    @property
    def decimals(self) -> int:
        """Digits after the point that tell a thousandth of a pixel."""
        _, xx, xy, _, yx, yy = self.matrix
        return max(0, 3 - math.floor(math.log10(min(math.hypot(xx, yx), math.hypot(xy, yy)))))

    def at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the coordinates of places on the map, to the east and to the north in most; float64."""
        x0, xx, xy, y0, yx, yy = self.matrix
        return x0 + xx * x + xy * y, y0 + yx * x + yy * y


def on_map(page: TiffPage) -> OnMap | None:
    """Return where a page lies on a map; None where it does not say, or says what is no place."""
    keys = _keys(page)
    matrix = _matrix(page)
    model = keys.get(_MODEL)
    if matrix is None or model not in (1, 2):
        return None
    code = keys.get(_PROJECTED if model == 1 else _GEOGRAPHIC, 0)
    epsg = int(code) if 1024 <= code <= 32766 else None  # 32767 is of one's own, above are private
    return OnMap(matrix, epsg, model == 2, _metres(keys, epsg) if model == 1 else None)


def _metres(keys: dict[int, float], epsg: int | None) -> float | None:
    """The length of the unit of a projected system. Those of UTM are metres, said or not."""
    unit, size = keys.get(_UNIT), keys.get(_UNIT_SIZE)
    if unit is None and size is None:
        return 1.0 if epsg and (32601 <= epsg <= 32660 or 32701 <= epsg <= 32760) else None
    known = size if unit is None else _METRES.get(unit, size)
    return known if known and math.isfinite(known) and known > 0 else None


def _matrix(page: TiffPage) -> tuple[float, float, float, float, float, float] | None:
    """The transformation to the map, from the tags that GDAL goes by first; None where they make none.

    Several tie points without a scale are no such transformation: images that are yet to be brought to a map have them.
    """
    scale, points, matrix = (_values(page, code) for code in (SCALE, TIE_POINTS, MATRIX))
    if len(scale) >= 2 and scale[0] and scale[1] and len(points) >= 6:
        i, j, _, x, y, _ = points[:6]
        across, down = scale[0], -abs(scale[1])
        found = (x - i * across, across, 0.0, y - j * down, 0.0, down)
    elif len(matrix) == 16:
        found = (matrix[3], matrix[0], matrix[1], matrix[7], matrix[4], matrix[5])
    else:
        return None
    x0, xx, xy, y0, yx, yy = found
    corner = corner_of(page)
    made = (x0 + corner * (xx + xy), xx, xy, y0 + corner * (yx + yy), yx, yy)
    spread = xx * yy - xy * yx  # of a pixel; 0 where all lie on a line
    return made if spread and all(map(math.isfinite, (*made, spread))) else None


def _keys(page: TiffPage) -> dict[int, float]:
    """The keys that are numbers, by their codes: four short integers each say where, how many and what."""
    directory, numbers = _values(page, KEYS), _values(page, _NUMBERS)
    keys: dict[int, float] = {}
    for at in range(4, len(directory) - 3, 4):
        code, place, _, value = map(int, directory[at : at + 4])
        if place == 0:
            keys[code] = value
        elif place == _NUMBERS and value < len(numbers):
            keys[code] = numbers[value]
    return keys


def _values(page: TiffPage, code: int) -> tuple[Any, ...]:
    """The numbers of a tag; none where it is not there, or is a text."""
    values = np.atleast_1d(page.tags[code].value) if code in page.tags else np.zeros(0)
    return tuple(values.tolist()) if values.dtype.kind in "iuf" and values.ndim == 1 else ()
